"""
The scales: MOS of a data set <-> quality in [0, 1] <-> score in [0, 100]; labels of scores.

The only definition. Everywhere, higher is better.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

SCORE_DECIMALS: Final = 4

# The five equal bands of the absolute category rating scale (ITU-T P.910, section 7.1: bad, poor,
# fair, good, excellent) with the two lowest joined: an application treats both the same.
LABEL_FLOORS: Final[tuple[tuple[float, str], ...]] = (
    (80.0, "excellent"),
    (60.0, "good"),
    (40.0, "fair"),
    (0.0, "poor"),
)


def score_of_quality(quality: float) -> float:
    """
    Turn the network's quality into the score a client gets.

    Args:
        quality: In [0, 1].

    Returns:
        The score in [0, 100], rounded to `SCORE_DECIMALS`.

    Raises:
        ValueError: The quality is not finite or lies outside [0, 1]: the server's fault.
    """
    if not 0.0 <= quality <= 1.0:  # false for NaN too
        raise ValueError(f"quality: expected a number in [0, 1], got {quality}.")
    return round(100.0 * float(quality), SCORE_DECIMALS)


def label_of_score(score: float) -> str:
    """Return poor, fair, good or excellent for a score in [0, 100]."""
    return next(label for floor, label in LABEL_FLOORS if score >= floor)


def quality_of_mos(mos: NDArray[np.float64], mos_range: tuple[float, float]) -> NDArray[np.float64]:
    """
    Map mean opinion scores linearly to quality.

    Args:
        mos: Any shape, in the data set's own unit.
        mos_range: Lowest and highest possible rating of that data set.

    Returns:
        Same shape, in [0, 1].

    Raises:
        ValueError: The range is empty, or a rating lies outside it.
    """
    low, high = mos_range
    if not low < high:
        raise ValueError(f"mos_range: expected LOW < HIGH, got {low} {high}.")
    if mos.size and not (low <= float(mos.min()) and float(mos.max()) <= high):
        raise ValueError(
            f"mos: expected ratings in [{low:g}, {high:g}], got {mos.min():g} to {mos.max():g}. "
            "Give the scale of these ratings: --mos-range LOW HIGH."
        )
    return (mos - low) / (high - low)
