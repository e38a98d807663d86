"""
How the causes are fitted into a checkpoint, and what is reported of them.

The work of `training.causes`, read downward.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.network import checkpoint
from iqa.network.intermediate_features import n_maps
from iqa.network.model import ImageNetwork
from iqa.tasks.heads import CAUSES, Causes, SmallNetwork, head_inputs

from training.data import overlays, ratings
from training.data.camera_damage import MAX_STRENGTH
from training.data.config import data_config
from training.heads import evaluate_causes, network
from training.heads.cause_names import CAUSE_OF_KIND
from training.heads.features import expect_taps, features_of
from training.heads.image_sources import pictures_of, well_rated
from training.heads.samples import (
    KINDS,
    Samples,
    cache_folder,
    camera_damaged,
    collect,
    distorted,
    with_overlays,
)

# Strength 1 is just visible, and is to be a quarter of the scale rather than a fifth.
BEND: Final = 0.8
# Of no damage: at 0 itself what is faint could not be told from what is not there.
NONE: Final = 5.0
HIDDEN_OF_CONTENT: Final = 64
HIDDEN_OF_SHARPNESS: Final = 256
EPOCHS_OF_CONTENT: Final = 40
EPOCHS_OF_SHARPNESS: Final = 100
SHARE_OF_CONTENT: Final = 0.25
"""Of the first network in the sum of the two; see `fit`."""
FLOOR: Final = 20.0
LEAD: Final = 1.2


def fit_into_checkpoint(arguments: argparse.Namespace) -> None:
    """
    Fit the causes, judge them on unseen pictures, and write them beside a checkpoint.

    Args:
        arguments: Of `training.causes`.
    """
    folder: Path = arguments.checkpoint
    weights, card = checkpoint.load(folder)
    backbone, policy = expect_taps(card), checkpoint.policy_of(card)
    config = dataclasses.replace(data_config(arguments), limit=None)
    split = ratings.load(config, ("train",)).split("train")
    tests = pictures_of(arguments.test_pictures)
    with features_of(weights, card, arguments.graph, backbone) as runtime:
        cache = cache_folder(arguments.features, card, runtime)
        taken = partial(collect, runtime=runtime, cache=cache, policy=policy)
        samples = taken(
            well_rated(split, arguments.pictures, arguments.well_rated),
            with_overlays(camera_damaged, overlays.sometimes),
            folder="camera_damaged_overlaid", title="damage",
        )  # fmt: skip
        unseen = taken(tests, distorted, folder="distorted", title="test")
        with_text = taken(
            tests, with_overlays(distorted, overlays.text),
            folder="distorted_with_text", title="test with text",
        )  # fmt: skip
    assert isinstance(weights, ImageNetwork)  # `expect_taps`
    causes = fit(
        samples, tuple(arguments.causes), arguments.seed, n_maps(weights.features, backbone)
    )
    report = evaluate_causes.judge(causes, unseen)
    report["with_text"] = {
        key: value
        for key, value in evaluate_causes.judge(causes, with_text).items()
        if key not in ("pictures", "distortions")
    }
    facts = {
        "kinds": list(causes.kinds),
        "floor": causes.floor,
        "lead": causes.lead,
        "pictures": arguments.pictures,
        "samples": len(samples),
        "measured": {k: v for k, v in report.items() if k != "distortions"},
    }
    network.store(folder, CAUSES, causes.network, backbone, facts)
    _write(report, arguments.out)
    print(f"written: {folder / checkpoint.CARD_FILE} and its heads")


def fit(samples: Samples, told: tuple[str, ...], seed: int, n_maps_of_taps: list[int]) -> Causes:
    """
    Learn all causes together, and keep those that are told.

    The sum of two networks. One sees all means, the last ones included, which tell what is in a
    picture: it knows the faults of photographs as they come, and holds less for other pictures. The
    other one sees maxima in place of the last means.

    Args:
        samples: By `camera_damaged`.
        told: Causes to keep.
        seed: Of the fit.
        n_maps_of_taps: Of `iqa.network.intermediate_features.n_maps`.
    """
    inputs = head_inputs(samples.features, samples.statistics)
    n_means, n_features = sum(n_maps_of_taps), samples.features.shape[1]
    place = np.arange(inputs.shape[1])
    is_last_mean = (place >= n_means - n_maps_of_taps[-1]) & (place < n_means)
    is_maximum = (place >= n_means) & (place < n_features)
    told_strength = (samples.strengths / MAX_STRENGTH) ** BEND
    targets = (NONE + (100 - NONE) * told_strength).astype(np.float32)
    fit_on = partial(
        network.fit, inputs, targets, np.ones(len(inputs), np.float32), loss="huber", seed=seed
    )
    content = fit_on(
        is_seen=~is_maximum, hidden=HIDDEN_OF_CONTENT, epochs=EPOCHS_OF_CONTENT,
        title="fit causes: content",
    )  # fmt: skip
    sharpness = fit_on(
        is_seen=~is_last_mean, hidden=HIDDEN_OF_SHARPNESS, epochs=EPOCHS_OF_SHARPNESS,
        title="fit causes: sharpness",
    )  # fmt: skip
    fitted = network.in_half_precision(
        network.blended([(SHARE_OF_CONTENT, content), (1 - SHARE_OF_CONTENT, sharpness)])
    )
    kept = [i for i, kind in enumerate(KINDS) if CAUSE_OF_KIND[kind] in told]
    parts = {name: getattr(fitted, name) for name in SmallNetwork.__dataclass_fields__}
    parts |= {
        "outputs": np.ascontiguousarray(fitted.outputs[:, kept]),
        "outputs_bias": fitted.outputs_bias[kept],
    }
    return Causes(
        network=SmallNetwork(**parts),
        kinds=tuple(CAUSE_OF_KIND[KINDS[i]] for i in kept),
        floor=FLOOR,
        lead=LEAD,
    )


def _write(report: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    table = evaluate_causes.markdown(report)
    out.with_suffix(".md").write_text(table)
    evaluate_causes.points_by_level(report).savefig(out.with_suffix(".png"), dpi=100)
    print(table)
    right = report["right_main_cause"]
    print(
        f"{report['pictures']} pictures: right main cause "
        f"from level {evaluate_causes.COUNTED_FROM} on "
        f"{'not tested' if right is None else f'{100 * right:.1f} %'}; "
        f"originals over {evaluate_causes.FALSE_ALARM}: {report['false_alarms']}"
    )
    ranks = ", ".join(
        f"{cause} {row['rank']:.3f} ({row['rank_within']:.3f} within a picture)"
        for cause, row in report["causes"].items()
        if "rank" in row
    )
    print(f"rank agreement with the level: {ranks or 'not tested'}")
    with_text = ", ".join(
        f"{cause} {row['rank']:.3f}"
        for cause, row in report["with_text"]["causes"].items()
        if "rank" in row
    )
    print(f"with text over each: {with_text or 'not tested'}")
