"""
Fit a checkpoint's calibration and interval.

Both are fitted on validation images and written into the card; the weights stay. How:
`training.measure.score_scale`. `training.train` does the same at the end of a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from iqa.drift.reference import DRIFT
from iqa.network import checkpoint
from iqa.tasks.score_scales import AFFINE_LOGIT, ScoreScale
from iqa.tasks.task_table import QUALITY, task_of
from numpy.typing import NDArray

from console import command_line
from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import SPLITS
from training.data.ratings import ALL, Ratings, Split
from training.measure import calibration, plots
from training.measure.predict import predict, torch_predictor
from training.measure.score_bands import (
    LABEL_EDGES,
    best_floors,
    error_by_score_band,
    label_agreement,
)
from training.measure.score_scale import BANDS, COVERAGE, fit
from training.networks import by_name as networks

Vector = NDArray[np.float64]


def main(argv: list[str] | None = None) -> int:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate",
        description="Fit on validation pictures how the network's quality becomes a score that is "
        "right on average, and how far a rating may lie from it; write both into the card. Prints "
        "the error raw and calibrated, by score band and by label.",
        epilog="Example: python -m training.calibrate --checkpoint training/pretrained --dataset "
        "biq2021 --data-dir data/biq2021. A registered version is not changed: register the "
        "folder again, python -m scripts.register_pretrained.",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder whose model.json is written"
    )
    add_options(parser, DataConfig)
    parser.add_argument(
        "--split", default="val", choices=[*SPLITS, ALL],
        help="pictures to fit on; those that the card was trained or tested on are refused "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--coverage", type=float, default=COVERAGE,
        help="share of ratings that shall lie in their interval (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--bands", type=int, default=BANDS,
        help="score bands of about as many pictures, each with an interval width of its own "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("calibration.json"),
        help="file of the figures; the reliability plot (.svg) is written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        folder: Path = arguments.checkpoint
        network, card = networks.load(folder)
        if task_of(card).name != QUALITY.name:
            raise ValueError(
                f"--checkpoint: expected a model of quality, got one of {task_of(card).name}, "
                "whose reply is not calibrated."
            )
        needed = () if arguments.split == ALL else (arguments.split,)
        config = data_config(arguments)
        data = ratings.load(config, needed, policy=checkpoint.policy_of(card))
        _expect_unseen(data, arguments.split, card)
        if config.limit is not None:  # a part of what was trained on has another digest
            whole = ratings.load(dataclasses.replace(config, limit=None), needed)
            _expect_unseen(whole, arguments.split, card)
        split = data.split(arguments.split)
        device = choose_device(arguments.device)
        predictor = torch_predictor(network.to(device), device)
        quality = predict(predictor, split, workers=arguments.workers, title="calibrate")
        facts = fit(quality, split, arguments.coverage, arguments.bands)
        changed = checkpoint.change_card(folder, facts)
        of = {"weights_sha256": card["weights_sha256"]}
        _report({**of, **facts}, quality, split, arguments.out)
        print(f"\nwritten: {folder / checkpoint.CARD_FILE}, {arguments.out}")
        if DRIFT in card and DRIFT not in changed:
            print("the reference for drift was of other scores: python -m training.drift_reference")
        return 0

    return command_line.run(command, arguments.debug)


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


if __name__ == "__main__":
    sys.exit(main())
