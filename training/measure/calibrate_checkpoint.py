"""Fit the calibration and the interval of a checkpoint, write both into its card, and report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from iqa.network import checkpoint
from iqa.network.model import Network
from iqa.tasks.score_scales import AFFINE_LOGIT, ScoreScale
from iqa.tasks.task_table import QUALITY, task_of
from numpy.typing import NDArray

from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig
from training.data.dataset_layouts import ALL
from training.data.ratings import Ratings, Split
from training.measure import calibration, plots
from training.measure.predict import predict, torch_predictor
from training.measure.score_bands import (
    LABEL_EDGES,
    best_floors,
    error_by_score_band,
    label_agreement,
)
from training.measure.score_scale import fit

Vector = NDArray[np.float64]


def calibrate(
    folder: Path,
    network: Network,
    card: checkpoint.Card,
    config: DataConfig,
    split_name: str,
    out: Path,
    *,
    coverage: float,
    bands: int,
    device_name: str,
    workers: int,
) -> checkpoint.Card:
    """
    Fit on rated pictures what a card says of its scores; write it, print and write the errors.

    Args:
        folder: Of the checkpoint; its card is written.
        network: The checkpoint's.
        card: The checkpoint's, as it was.
        config: Which pictures.
        split_name: train, val, test, or all for the three together.
        out: File of the figures; the reliability plot (.svg) is written beside it.
        coverage: Share of ratings that shall lie in their interval.
        bands: Score bands, each with an interval width of its own.
        device_name: auto, cpu or cuda.
        workers: Processes that decode.

    Returns:
        The card as it is now.

    Raises:
        ValueError: The model is not one of quality, it knows these pictures, or they are too few.
        FileNotFoundError: Pictures or ratings are missing.
    """
    if task_of(card).name != QUALITY.name:
        raise ValueError(
            f"--checkpoint: expected a model of quality, got one of {task_of(card).name}, "
            "whose reply is not calibrated."
        )
    needed = () if split_name == ALL else (split_name,)
    data = ratings.load(config, needed, policy=checkpoint.policy_of(card))
    _expect_unseen(data, split_name, card)
    if config.limit is not None:  # a part of what was trained on has another digest
        whole = ratings.load(dataclasses.replace(config, limit=None), needed)
        _expect_unseen(whole, split_name, card)
    split = data.split(split_name)
    device = choose_device(device_name)
    predictor = torch_predictor(network.to(device), device)
    quality = predict(predictor, split, workers=workers, title="calibrate")
    facts = fit(quality, split, coverage, bands)
    changed = checkpoint.change_card(folder, facts)
    of = {"weights_sha256": card["weights_sha256"]}
    _report({**of, **facts}, quality, split, out)
    print(f"\nwritten: {folder / checkpoint.CARD_FILE}, {out}")
    return changed


def _expect_unseen(data: Ratings, name: str, card: checkpoint.Card) -> None:
    """Refuse images that the network was trained on, and those that test it in the end."""
    digests = card.get("data", {}).get("digests", {})
    for split in data.splits.values() if name == ALL else [data.splits[name]]:
        own = split.digest()
        for known, verb in (("train", "trained"), ("test", "tested")):
            if own == digests.get(known):
                raise ValueError(
                    f"--split: expected pictures of the validation split, got those that the model "
                    f"was {verb} on. Use --split val."
                )


def _report(facts: dict[str, Any], quality: Vector, split: Split, out: Path) -> None:
    held_out = calibration.cross_fitted(quality, split.target, AFFINE_LOGIT)
    measured = calibration.comparison(quality, held_out, split.target)
    labels = label_agreement(100 * held_out, 100 * split.target)
    by_band = error_by_score_band(100 * held_out, 100 * split.target, LABEL_EDGES)
    out.parent.mkdir(parents=True, exist_ok=True)
    floors, share = best_floors(100 * held_out, 100 * split.target)
    document = {
        **facts, "measured": measured, "by_label": by_band, "labels": labels,
        "best_floors": {"floors": floors, "same": share},
    }  # fmt: skip
    out.write_text(json.dumps(document, indent=2) + "\n")
    plots.reliability({kind: rows["reliability"] for kind, rows in measured.items()}).savefig(
        out.with_suffix(".svg")
    )
    scale = ScoreScale.of_card(facts)
    fitted = facts["calibration"]
    print(
        f"{len(split)} pictures, each calibrated by a fit on others; logit -> "
        f"{fitted['scale']:.4f} * logit {fitted['offset']:+.4f}\n"
    )
    columns = ("srocc", "plcc", "mae_100", "rmse_100", "calibration_error_100")
    print(pd.DataFrame({kind: {c: rows[c] for c in columns} for kind, rows in measured.items()})
          .to_string(float_format="{:.3f}".format))  # fmt: skip
    print(f"rmse_100 with an isotonic fit: {fitted['validation']['isotonic']['rmse_100']:.3f}")
    moved = np.array([scale.score(float(q)) for q in quality]) - 100 * quality
    print(f"scores move by {moved.min():+.1f} to {moved.max():+.1f} points, {moved.mean():+.2f} on "
          "average")  # fmt: skip
    print("\nerror by band of the score, in points:")
    print(pd.DataFrame(by_band).to_string(index=False, float_format="{:.1f}".format))
    print("\nthe label of the score and the label of the rating:")
    print(pd.DataFrame(labels).to_string(index=False, float_format="{:.2f}".format))
    same = sum(row["n"] * row["same"] for row in labels) / len(split)
    print(
        f"same: {100 * same:.1f} % with floors {_floors_text(LABEL_EDGES[1:-1])}; "
        f"in hindsight best are {_floors_text(floors)}: {100 * share:.1f} %"
    )
    print(f"\nintervals that hold {100 * facts['interval']['coverage']:g} % of the ratings:")
    print(pd.DataFrame(facts["interval"]["bands"]).to_string(
        index=False, float_format="{:.1f}".format))  # fmt: skip


def _floors_text(floors: Sequence[float]) -> str:
    return ", ".join(f"{floor:g}" for floor in floors)
