"""
How the head of familiarity is fitted into a checkpoint, with the thresholds of both warnings.

The work of `training.familiarity`, read downward.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.network import checkpoint
from iqa.tasks.heads import (
    FAMILIARITY,
    NOT_A_PHOTOGRAPH,
    UNLIKE_TRAINING,
    Familiarity,
    SmallNetwork,
    head_inputs,
    probabilities,
)
from numpy.typing import NDArray

from training.data import ratings, unusual_photographs
from training.data.config import data_config
from training.data.graphics import for_training
from training.heads import evaluate_familiarity, network
from training.heads.features import expect_taps, features_of
from training.heads.image_sources import any_rated, pictures_of, well_rated
from training.heads.samples import (
    Samples,
    cache_folder,
    camera_damaged,
    collect,
    originals,
    variants_of,
)

FALSE_ALARMS: Final = 0.01
"""Share of the photographs that choose the threshold which are warned of."""
HIDDEN: Final = 24
EPOCHS: Final = 80


def fit_into_checkpoint(arguments: argparse.Namespace) -> None:
    """
    Fit the head, measure it on unseen pictures, and write it beside a checkpoint.

    Args:
        arguments: Of `training.familiarity`.
    """
    folder: Path = arguments.checkpoint
    weights, card = checkpoint.load(folder)
    backbone = expect_taps(card)
    data = ratings.load(data_config_of(arguments))
    with features_of(weights, card, arguments.graph, backbone) as runtime:
        taken = partial(
            collect,
            runtime=runtime,
            cache=cache_folder(arguments.features, card, runtime),
            policy=checkpoint.policy_of(card),
        )
        photographs, drawn, odd = _learnt_from(arguments, data, taken)
        tests = evaluate_familiarity.unseen(
            arguments, data.split("test"), pictures_of(arguments.test_pictures), taken
        )
        n_means = runtime.n_means
    learns = _is_learnt(photographs.names)
    inputs = _inputs(photographs, n_means)
    fitted = _fit(inputs[learns], _inputs(drawn, n_means), _inputs(odd, n_means), arguments.seed)
    floors = np.quantile(probabilities(fitted(inputs[~learns])), FALSE_ALARMS, axis=0)
    head = Familiarity(
        network=fitted,
        not_a_photograph=round(float(floors[0]), 4),
        unlike_training=round(float(floors[1]), 4),
    )
    report: dict[str, Any] = {
        NOT_A_PHOTOGRAPH: head.not_a_photograph,
        UNLIKE_TRAINING: head.unlike_training,
        "chosen_on": int((~learns).sum()),
        **evaluate_familiarity.judge(head, tests),
    }
    facts = {
        NOT_A_PHOTOGRAPH: head.not_a_photograph,
        UNLIKE_TRAINING: head.unlike_training,
        "photographs": int(learns.sum()),
        "graphics": len(drawn),
        "unusual": len(odd),
        "measured": report,
    }
    network.store(folder, FAMILIARITY, fitted, backbone, facts)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(evaluate_familiarity.markdown(report))
    print(f"written: {arguments.out}, {folder / checkpoint.CARD_FILE} and its heads")


def data_config_of(arguments: argparse.Namespace) -> Any:
    """Return which rated pictures are read, all of them."""
    arguments.limit = None
    return data_config(arguments)


def _learnt_from(
    arguments: argparse.Namespace, data: ratings.Ratings, taken: Callable[..., Samples]
) -> tuple[Samples, Samples, Samples]:
    """Return photographs, graphics, and unusual photographs."""
    good = well_rated(data.split("train"), arguments.pictures, arguments.well_rated)
    damaged = taken(good, camera_damaged, folder="camera_damaged", title="damage")
    rated = taken(
        any_rated(data.split("val"), len(data.split("val"))), originals,
        folder="originals", title="rated",
    )  # fmt: skip
    drawn = taken(
        evaluate_familiarity.drawn(for_training.KINDS, arguments.graphics), originals,
        folder="graphics", title="graphics",
    )  # fmt: skip
    odd = taken(
        good[: arguments.unusual], variants_of(unusual_photographs.FOR_TRAINING),
        folder="unusual", title="unusual",
    )  # fmt: skip
    return _together(damaged, rated), drawn, odd


def _together(a: Samples, b: Samples) -> Samples:
    return Samples(
        names=[*a.names, *b.names],
        features=np.concatenate([a.features, b.features]),
        statistics=np.concatenate([a.statistics, b.statistics]),
        strengths=np.concatenate([a.strengths, b.strengths]),
    )


def _is_learnt(names: list[str]) -> NDArray[np.bool_]:
    """Tell which photographs are learnt from: half of them, with all copies, by a hash."""
    sources = [name.rsplit("|", 1)[0] for name in names]
    return np.array([hashlib.sha256(name.encode()).digest()[-1] % 2 == 0 for name in sources])


def _inputs(samples: Samples, n_means: int) -> NDArray[np.float32]:
    """Return means and statistics: with the maxima, fewer graphics were told."""
    return head_inputs(samples.features[:, :n_means], samples.statistics)


def _fit(
    photographs: NDArray[np.float32],
    drawn: NDArray[np.float32],
    odd: NDArray[np.float32],
    seed: int,
) -> SmallNetwork:
    """
    Learn both outputs at once: is it a photograph, is it a usual one.

    An unusual photograph is a photograph; a graphic is not asked whether it is usual.
    """
    inputs = np.concatenate([photographs, drawn, odd])
    targets = np.full((len(inputs), 2), np.nan, np.float32)
    targets[: len(photographs)] = 1
    targets[len(photographs) : len(photographs) + len(drawn), 0] = 0
    targets[len(photographs) + len(drawn) :] = (1, 0)
    # All three weigh the same, however many of each there are.
    parts = (photographs, drawn, odd)
    weights = np.concatenate([np.full(len(part), len(inputs) / 3 / len(part)) for part in parts])
    return network.in_half_precision(
        network.fit(
            inputs, targets, weights.astype(np.float32),
            loss="logistic", hidden=HIDDEN, epochs=EPOCHS, seed=seed, title="fit familiarity",
        )
    )  # fmt: skip
