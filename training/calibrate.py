"""
Fit a checkpoint's calibration and interval.

Both are fitted on validation pictures and written into the card; the weights stay. They come from
the same pictures without one flattering the other: the interval's errors are those of pictures
calibrated by a fit on other pictures (`calibration.cross_fitted`), while the calibration that is
served is fitted on all of them. `training.train` does the same at the end of a run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from iqa.network import checkpoint
from iqa.tasks.score import AFFINE_LOGIT, ScoreScale
from numpy.typing import NDArray

from console import command_line
from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.layouts import SPLITS
from training.data.ratings import ALL, Split
from training.measure import calibration, conformal, plots
from training.measure.predict import predict, torch_predictor
from training.measure.score_bands import (
    LABEL_EDGES,
    best_floors,
    equal_count_edges,
    error_by_score_band,
    label_agreement,
)

logger = logging.getLogger(__name__)

Vector = NDArray[np.float64]

COVERAGE: Final = 0.9
BANDS: Final = 4
# With fewer, two parameters fit the noise, and the coverage is off by more than 3 points.
MIN_PICTURES: Final = 100


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
        network, card = checkpoint.load(folder)
        needed = () if arguments.split == ALL else (arguments.split,)
        split = ratings.load(data_config(arguments), needed).split(arguments.split)
        _expect_unseen(split, card)
        device = choose_device(arguments.device)
        predictor = torch_predictor(network.to(device), device)
        quality = predict(predictor, split, workers=arguments.workers, title="calibrate")
        facts = fit(quality, split, arguments.coverage, arguments.bands)
        checkpoint.change_card(folder, facts)
        of = {"weights_sha256": card["weights_sha256"]}
        _report({**of, **facts}, quality, split, arguments.out)
        print(f"\nwritten: {folder / checkpoint.CARD_FILE}, {arguments.out}")
        return 0

    return command_line.run(command, arguments.debug)


def fit(
    quality: Vector, split: Split, coverage: float = COVERAGE, bands: int = BANDS
) -> dict[str, Any]:
    """
    Fit what a card says of its scores.

    Args:
        quality: Shape (N,), the network's, of pictures that it was not trained on.
        split: These pictures.
        coverage: Of the interval.
        bands: Of the score, as many as there are pictures for.

    Returns:
        `calibration` and `interval`, for the card. Beside its parameters the calibration holds
        `n`, the `digest` of the split, and `validation`: the errors `raw`, `calibrated` (each
        picture by a fit on others) and with an `isotonic` fit for comparison.

    Raises:
        ValueError: Too few pictures, or ratings that do not rise with quality.
    """
    if len(split) < MIN_PICTURES:
        raise ValueError(
            f"calibration: expected at least {MIN_PICTURES} validation pictures, got {len(split)}. "
            "The card stays without calibration and interval."
        )
    target = split.quality
    fitted = calibration.fit_affine_logit(quality, target)
    held_out = calibration.cross_fitted(quality, target, AFFINE_LOGIT)
    rmse_100 = calibration.cross_validated(quality, target)
    measured = calibration.comparison(quality, held_out, target)
    validation = {
        kind: {name: round(rows[name], 3) for name in ("mae_100", "rmse_100")}
        for kind, rows in measured.items()
    }
    validation["isotonic"] = {"rmse_100": round(rmse_100["isotonic"], 3)}
    # Edges that a person can read: whole points.
    edges = [round(edge) for edge in equal_count_edges(100 * held_out, bands)]
    return {
        "calibration": {**fitted, "digest": split.digest(), "validation": validation},
        "interval": conformal.fit(100 * held_out, 100 * target, coverage, sorted(set(edges))),
    }


def fit_if_possible(quality: Vector, split: Split) -> dict[str, Any]:
    """Return what `fit` does; where that is refused, nothing, and a line in the log."""
    try:
        return fit(quality, split)
    except ValueError as error:
        logger.warning("%s", error)
        return {}


def _expect_unseen(split: Split, card: checkpoint.Card) -> None:
    """Refuse images that the network was trained on, and those that test it in the end."""
    digests = card.get("data", {}).get("digests", {})
    own = split.digest()
    for name, verb in (("train", "trained"), ("test", "tested")):
        if own == digests.get(name):
            raise ValueError(
                f"--split: expected pictures of the validation split, got those that the model "
                f"was {verb} on. Use --split val."
            )


def _report(facts: dict[str, Any], quality: Vector, split: Split, out: Path) -> None:
    held_out = calibration.cross_fitted(quality, split.quality, AFFINE_LOGIT)
    measured = calibration.comparison(quality, held_out, split.quality)
    labels = label_agreement(100 * held_out, 100 * split.quality)
    by_band = error_by_score_band(100 * held_out, 100 * split.quality, LABEL_EDGES)
    out.parent.mkdir(parents=True, exist_ok=True)
    floors, share = best_floors(100 * held_out, 100 * split.quality)
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
