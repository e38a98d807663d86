"""What the scores of changed pictures say together: in the right order or not, moved or not."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

import numpy as np

from training.data.distortions import LEVELS
from training.experiments.variants import CHANGES, KINDS, PictureScores

TOLERANCE: Final = 1.0
"""Points that a worse picture may gain and still count as ordered, in the second of two shares."""


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
