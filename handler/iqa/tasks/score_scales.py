"""
The scales: MOS of a data set <-> quality in [0, 1] <-> score in [0, 100]; labels of scores.

The only definition. Everywhere, higher is better. A model's card may say how its quality becomes
one that is right on average (`calibration`), and how far a rating may lie from the score
(`interval`); both are fitted on validation pictures by `training.calibrate`. A card without them
leaves the network's own quality as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from iqa.errors import CheckpointMismatch
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Calibration = Mapping[str, Any]
"""JSON: `kind` (`AFFINE_LOGIT`), `scale` above 0, `offset`."""
IntervalTable = Mapping[str, Any]
"""JSON: `coverage`, and `bands`, each with `low`, `high` and `half_width` in points; a band holds
its lower edge and not its upper one, the last one 100 too."""

SCORE_DECIMALS: Final = 4
INTERVAL_DECIMALS: Final = 1

AFFINE_LOGIT: Final = "affine_logit"
# A quality of 0 or 1 in float32 has no logit; 1e-6 is a ten-thousandth of a point.
SMALLEST: Final = 1e-6

# The five equal bands of the absolute category rating scale (ITU-T P.910, section 7.1: bad, poor,
# fair, good, excellent) with the two lowest joined: an application treats both the same.
LABEL_FLOORS: Final[tuple[tuple[float, str], ...]] = (
    (80.0, "excellent"),
    (60.0, "good"),
    (40.0, "fair"),
    (0.0, "poor"),
)


@dataclass(frozen=True, kw_only=True)
class ScoreScale:
    """
    What a model's card says of its scores.

    Attributes:
        calibration: See `calibrate`; None leaves the network's quality.
        intervals: See `interval`; None where the card promises none.
    """

    calibration: Calibration | None = None
    intervals: IntervalTable | None = None

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> ScoreScale:
        """
        Read and check the part of a card that is about scores.

        Raises:
            CheckpointMismatch: It was written by other code, or by hand.
        """
        calibration, intervals = card.get("calibration"), card.get("interval")
        try:
            if calibration is not None:
                _check_calibration(calibration)
            if intervals is not None:
                _check_intervals(intervals)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointMismatch(
                f"card: expected a calibration and an interval as training.calibrate writes "
                f"them, got {type(error).__name__}: {error}. Fit them again."
            ) from error
        return cls(calibration=calibration, intervals=intervals)

    def score(self, quality: float) -> float:
        """
        Turn the network's quality into the score a client gets.

        Args:
            quality: In [0, 1].

        Raises:
            ValueError: See `score_of_quality`.
        """
        if self.calibration is not None and 0.0 <= quality <= 1.0:
            quality = float(calibrate(np.asarray(quality), self.calibration))
        return score_of_quality(quality)

    def reply(self, quality: float) -> dict[str, Any]:
        """
        Return the part of a reply that follows from the network's quality.

        Args:
            quality: In [0, 1].

        Returns:
            `score`, `label`, and where the card promises them `interval` and `coverage`.

        Raises:
            ValueError: See `score_of_quality`.
        """
        score = self.score(quality)
        told: dict[str, Any] = {"score": score, "label": label_of_score(score)}
        if self.intervals is not None:
            ends = interval(score, self.intervals)
            told["interval"] = [round(end, INTERVAL_DECIMALS) for end in ends]
            told["coverage"] = self.intervals["coverage"]
        return told


def score_of_quality(quality: float) -> float:
    """
    Turn quality into points: what a client gets where it is calibrated, or needs not be.

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


def calibrate(quality: Vector, calibration: Calibration) -> Vector:
    """
    Move and stretch the logit: Platt's two parameters, for ratings in place of classes.

    Strictly rising, so no rank changes; and the logit stays the mean of a per-location map.

    Args:
        quality: Any shape, in [0, 1].
        calibration: See `Calibration`.

    Returns:
        Same shape, in [0, 1].
    """
    clipped = np.minimum(np.maximum(quality, SMALLEST), 1 - SMALLEST)
    logit = np.log(clipped / (1 - clipped))
    calibrated: Vector = 1 / (1 + np.exp(-(calibration["scale"] * logit + calibration["offset"])))
    return calibrated


def interval(score: float, table: IntervalTable) -> tuple[float, float]:
    """
    Return the interval that holds the rating with the table's coverage, in points.

    Args:
        score: In [0, 100], calibrated as the scores that the table was fitted on.
        table: See `IntervalTable`.

    Returns:
        (low, high), within [0, 100], with the score between them.

    Raises:
        ValueError: The score lies outside its scale.
    """
    if not 0.0 <= score <= 100.0:  # false for NaN too
        raise ValueError(f"score: expected a number in [0, 100], got {score}.")
    # The last band holds 100 itself.
    band = next((b for b in table["bands"] if score < b["high"]), table["bands"][-1])
    # Ratings have the same ends: what is cut off holds none, and the coverage stays.
    return max(0.0, score - band["half_width"]), min(100.0, score + band["half_width"])


def quality_of_mos(mos: Vector, mos_range: tuple[float, float]) -> Vector:
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


def _check_calibration(calibration: Calibration) -> None:
    kind, scale, offset = (calibration[key] for key in ("kind", "scale", "offset"))
    if kind != AFFINE_LOGIT or not (math.isfinite(scale) and scale > 0 and math.isfinite(offset)):
        raise ValueError(f"kind {kind!r}, scale {scale}, offset {offset}")


def _check_intervals(table: IntervalTable) -> None:
    edges = [(band["low"], band["high"]) for band in table["bands"]]
    starts, ends = zip(*edges, strict=True)
    if (starts[0], ends[-1]) != (0.0, 100.0) or starts[1:] != ends[:-1]:
        raise ValueError(f"bands {edges}")
    if not all(low < high for low, high in edges) or not 0 < table["coverage"] < 1:
        raise ValueError(f"bands {edges}, coverage {table['coverage']}")
    if not all(0 <= band["half_width"] <= 100 for band in table["bands"]):  # false for NaN too
        raise ValueError(f"half widths {[band['half_width'] for band in table['bands']]}")
