"""
Measure how the score behaves when an image is changed.

Blur, noise, JPEG, down-scaling and exposure at five levels: does a worse picture get a lower
score? Mirrored, saved again, sent smaller or larger: does the same picture get the same score?
No ratings are needed. `training.experiments.variants` makes the pictures and scores them as the
server does.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.network import checkpoint
from iqa.tasks.score_scales import ScoreScale

from console import command_line
from training.data.distortions import LEVELS
from training.data.photographs import read_pictures
from training.evaluate import load_model
from training.experiments.variants import CHANGES, KINDS, PictureScores, score_pictures
from training.measure import plots

TOLERANCE: Final = 1.0
"""Points that a worse picture may gain and still count as ordered, in the second of two shares."""


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness",
        description="Change pictures in known ways and see what the score does: share of pairs "
        "in the right order under growing distortion, difference under mirroring, saving "
        "again and other sizes.",
        epilog="Example: python -m training.robustness --model training/pretrained "
        "--pictures photographs --out robustness.json",
    )
    parser.add_argument("--model", required=True, help="as for training.evaluate")
    parser.add_argument(
        "--pictures", type=Path,
        help="folder of good photographs, both sides at least 64 pixels "
        "(default: six that installed packages ship)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("robustness.json"),
        help="file of the figures; the table (.md) and the plot (.png) are written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="POINTS",
        help="what a worse picture may gain and still count as ordered (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        network, card = load_model(arguments.model)
        pictures = read_pictures(arguments.pictures)
        scores = score_pictures(
            network, ScoreScale.of_card(card), pictures, arguments.seed, checkpoint.policy_of(card)
        )
        report = {
            "backbone": card["architecture"]["backbone"],
            "weights_sha256": card["weights_sha256"],
            "seed": arguments.seed,
            **summary(scores, arguments.tolerance),
        }
        _write(report, arguments.out)
        return 0

    return command_line.run(command, arguments.debug)


def summary(scores: dict[str, PictureScores], tolerance: float = TOLERANCE) -> dict[str, Any]:
    """
    Say how often the order is right and how much the score moves.

    A pair is two levels of one distortion of one picture, the original included: 15 a picture.

    Args:
        scores: By picture.
        tolerance: Points that a worse picture may gain in `ordered_within_tolerance`.

    Returns:
        `pictures`, `tolerance`; under `distortions` by kind `mean_score` (by level, from the
        original), `pairs`, `ordered` (share with a strictly lower score for the worse picture),
        `ordered_within_tolerance`, `largest_rise` (points, at most 0 if there is none) and
        `largest_rise_in`; under `changes` by name `mean_difference` (changed minus original),
        `mean_absolute_difference`, `max_absolute_difference` and `max_in`; and `scores`.
    """
    return {
        "pictures": len(scores),
        "tolerance": tolerance,
        "distortions": {kind: _order(kind, scores, tolerance) for kind in KINDS},
        "changes": {name: _movement(name, scores) for name in CHANGES},
        "scores": {name: {**picture.levels, **picture.changes} for name, picture in scores.items()},
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the two tables of a report, for a document."""
    levels = " | ".join(f"{level}" for level in LEVELS)
    lines = [
        f"| distortion | original | {levels} | ordered | within {report['tolerance']:g} "
        "| largest rise |",
        "|---" * (len(LEVELS) + 5) + "|",
    ]
    for kind, row in report["distortions"].items():
        means = " | ".join(f"{score:.1f}" for score in row["mean_score"])
        lines.append(
            f"| {kind.replace('_', ' ')} | {means} | {100 * row['ordered']:.1f} % "
            f"| {100 * row['ordered_within_tolerance']:.1f} % "
            f"| {row['largest_rise']:+.1f} ({row['largest_rise_in']}) |"
        )
    lines += [
        "",
        "| change | mean difference | mean size | largest size |",
        "|---|---|---|---|",
    ]
    for name, row in report["changes"].items():
        lines.append(
            f"| {name.replace('_', ' ')} | {row['mean_difference']:+.2f} "
            f"| {row['mean_absolute_difference']:.2f} "
            f"| {row['max_absolute_difference']:.2f} ({row['max_in']}) |"
        )
    return "\n".join(lines) + "\n"


def _order(kind: str, scores: dict[str, PictureScores], tolerance: float) -> dict[str, Any]:
    rises = {
        f"{name}, {a} to {b}": picture.levels[kind][b] - picture.levels[kind][a]
        for name, picture in scores.items()
        for a, b in combinations(range(len(LEVELS) + 1), 2)
    }
    rise = np.array(list(rises.values()))
    worst = max(rises, key=lambda pair: rises[pair])
    return {
        "mean_score": np.mean([p.levels[kind] for p in scores.values()], axis=0).tolist(),
        "pairs": len(rises),
        "ordered": float((rise < 0).mean()),
        "ordered_within_tolerance": float((rise <= tolerance).mean()),
        "largest_rise": rises[worst],
        "largest_rise_in": worst,
    }


def _movement(change: str, scores: dict[str, PictureScores]) -> dict[str, Any]:
    difference = {name: p.changes[change] - p.original for name, p in scores.items()}
    values = np.array(list(difference.values()))
    largest = max(difference, key=lambda name: abs(difference[name]))
    return {
        "mean_difference": float(values.mean()),
        "mean_absolute_difference": float(np.abs(values).mean()),
        "max_absolute_difference": abs(difference[largest]),
        "max_in": largest,
    }


def _write(report: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    table = markdown(report)
    out.with_suffix(".md").write_text(table)
    plots.scores_by_level(
        {kind: row["mean_score"] for kind, row in report["distortions"].items()},
        f"{report['backbone']}, {report['pictures']} pictures",
    ).savefig(out.with_suffix(".png"), dpi=120)
    print(table)
    print(f"written: {out}, {out.with_suffix('.md')}, {out.with_suffix('.png')}")


if __name__ == "__main__":
    sys.exit(main())
