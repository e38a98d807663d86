"""
Bands of the predicted score: where they are cut, and how right the score is within each.

`training.measure.metrics.error_by_band` goes by the rating, which a client does not have; this
goes by the score that a client gets. For `training.calibrate` and `training.evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, Final

import numpy as np
from iqa.tasks.score_scales import LABEL_FLOORS, label_of_score
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Row = dict[str, float]

LOWEST: Final = 0.0
HIGHEST: Final = 100.0
LABEL_EDGES: Final = (*(floor for floor, _ in reversed(LABEL_FLOORS)), HIGHEST)
"""Edges of the labels' bands."""


def equal_count_edges(score: Vector, bands: int) -> list[float]:
    """
    Cut the scale so that each band holds about as many pictures.

    Args:
        score: Shape (N,), predicted, in [0, 100].
        bands: How many are wanted; fewer come out where scores are tied.

    Returns:
        Rising edges from 0 to 100, at most `bands + 1`.

    Raises:
        ValueError: There is no score, or no band is wanted.
    """
    if bands < 1 or not len(score):
        raise ValueError(
            f"bands: expected at least 1 band and 1 score, got {bands} and {len(score)}."
        )
    cuts = np.unique(np.quantile(score, np.arange(1, bands) / bands))
    inner = [float(cut) for cut in cuts if LOWEST < cut < HIGHEST]
    return [LOWEST, *inner, HIGHEST]


def band_of(score: Vector, edges: Sequence[float]) -> NDArray[np.intp]:
    """
    Return the number of each score's band, from 0.

    A band holds its lower edge and not its upper one; the last holds 100 too.

    Raises:
        ValueError: The edges do not rise from 0 to 100, or a score lies outside.
    """
    rises = all(a < b for a, b in pairwise(edges))
    if len(edges) < 2 or (edges[0], edges[-1]) != (LOWEST, HIGHEST) or not rises:
        raise ValueError(f"edges: expected numbers rising from 0 to 100, got {list(edges)}.")
    if not bool(np.all((score >= LOWEST) & (score <= HIGHEST))):  # false for NaN too
        raise ValueError(
            f"score: expected numbers in [0, 100], got {np.min(score):g} to {np.max(score):g}."
        )
    return np.searchsorted(np.asarray(edges)[1:-1], score, side="right")


def error_by_score_band(score: Vector, rated: Vector, edges: Sequence[float]) -> list[Row]:
    """
    Compare score and rating within each band of the score.

    Args:
        score: Shape (N,), predicted, in [0, 100].
        rated: Shape (N,), ratings mapped to [0, 100].
        edges: Rising from 0 to 100, such as the floors of the labels or `equal_count_edges`.

    Returns:
        One row a band that holds pictures: `low`, `high`, `n`, the means `score` and `rated`,
        `bias_100` (score minus rated), `mae_100` and `rmse_100`, all in points.

    Raises:
        ValueError: See `band_of`.
    """
    band = band_of(score, edges)
    rows = []
    for number in np.unique(band):
        chosen = band == number
        error = score[chosen] - rated[chosen]
        rows.append(
            {
                "low": float(edges[number]),
                "high": float(edges[number + 1]),
                "n": float(chosen.sum()),
                "score": float(score[chosen].mean()),
                "rated": float(rated[chosen].mean()),
                "bias_100": float(error.mean()),
                "mae_100": float(np.abs(error).mean()),
                "rmse_100": float(np.sqrt((error**2).mean())),
            }
        )
    return rows


def label_agreement(score: Vector, rated: Vector) -> list[dict[str, Any]]:
    """
    Compare the label of the score with the label that the rating itself would get.

    Args:
        score: Shape (N,), in [0, 100].
        rated: Shape (N,), in [0, 100].

    Returns:
        A row a label that was given: `label`, `n`, the mean `rated`, and the shares `same` and
        `within_one`.
    """
    names = [name for _, name in reversed(LABEL_FLOORS)]
    given = np.array([names.index(label_of_score(value)) for value in score])
    wanted = np.array([names.index(label_of_score(value)) for value in rated])
    rows = []
    for number in np.unique(given):
        chosen = given == number
        apart = np.abs(given - wanted)[chosen]
        rows.append(
            {
                "label": names[number],
                "n": int(chosen.sum()),
                "rated": float(rated[chosen].mean()),
                "same": float((apart == 0).mean()),
                "within_one": float((apart <= 1).mean()),
            }
        )
    return rows


def best_floors(score: Vector, rated: Vector) -> tuple[tuple[float, ...], float]:
    """
    Look for the floors of the labels at which the score's label is the rating's most often.

    In hindsight, for comparison: floors that were looked for make up for what one network gets
    wrong, and mean nothing to a person.

    Args:
        score: Shape (N,), in [0, 100].
        rated: Shape (N,), in [0, 100]; its label is by the floors as they are.

    Returns:
        The floors, in whole points up to ten off those in use, and the share of equal labels.
    """
    floors = np.asarray(LABEL_EDGES[1:-1])
    wanted = np.searchsorted(floors, rated, side="right")
    steps = range(-10, 11)
    # A label is the number of floors that the score reaches.
    reached = [
        {step: (score >= floor + step).astype(np.int8) for step in steps} for floor in floors
    ]
    found = {
        steps: float((sum(r[s] for r, s in zip(reached, steps, strict=True)) == wanted).mean())
        for steps in product(steps, repeat=len(floors))
    }
    best = max(found, key=lambda steps: (found[steps], -sum(map(abs, steps))))
    return tuple(float(floor + step) for floor, step in zip(floors, best, strict=True)), found[best]
