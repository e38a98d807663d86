"""
From the network's quality to one that is right on average: fitted on validation, never on test.

Two kinds. `affine_logit` moves and stretches the logit (Platt's two parameters, for ratings in
place of classes): strictly rising, so no rank changes, and the logit stays the mean of a
per-location map. That is the kind that a card holds and `iqa.tasks.score_scales` serves.
`isotonic` takes the best rising step function: it follows any shape, but its steps make ties, and
it wants some hundred pictures. It is fitted to see what the other leaves on the table.

`training.calibrate` is the command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from iqa.tasks.score_scales import AFFINE_LOGIT, SMALLEST, calibrate
from numpy.typing import NDArray
from scipy.optimize import least_squares

from training.measure.metrics import agreement
from training.measure.score_bands import Row, equal_count_edges, error_by_score_band

Vector = NDArray[np.float64]
Calibration = dict[str, Any]
"""JSON: `kind`, `n` (pictures it was fitted on), and what `apply` needs of that kind."""

MIN_PICTURES: Final = 20
RELIABILITY_BINS: Final = 10
FOLDS: Final = 5


def fit_affine_logit(quality: Vector, target: Vector) -> Calibration:
    """
    Fit sigmoid(scale * logit(quality) + offset) to the ratings by least squares.

    Squared error of the quality, not cross entropy: RMSE_100 is what is reported.

    Args:
        quality: Shape (N,), the network's, in [0, 1].
        target: Shape (N,), ratings mapped to [0, 1].

    Returns:
        `kind`, `scale` (above 0), `offset`, `n`.

    Raises:
        ValueError: Too few pictures, or ratings that do not rise with quality.
    """
    _check(quality, target)
    logit = _logit(quality)

    def error(parameters: Vector) -> Vector:
        residual: Vector = 1 / (1 + np.exp(-(parameters[0] * logit + parameters[1]))) - target
        return residual

    scale, offset = least_squares(error, x0=[1.0, 0.0]).x
    if not scale > 0:
        raise ValueError(
            f"calibration: expected ratings that rise with quality, got a scale of {scale:.3f}. "
            "The model does not rank these pictures; train it before it is calibrated."
        )
    return {
        "kind": AFFINE_LOGIT,
        "scale": float(scale),
        "offset": float(offset),
        "n": len(quality),
    }


def fit_isotonic(quality: Vector, target: Vector) -> Calibration:
    """
    Fit the rising function of least squared error, straight between its points.

    Args:
        quality: Shape (N,), the network's, in [0, 1].
        target: Shape (N,), ratings mapped to [0, 1].

    Returns:
        `kind`, `quality` and `calibrated` (equally long, rising: its points), `n`.

    Raises:
        ValueError: Too few pictures.
    """
    # One command in ten fits it, and the import takes half a second of every one.
    from sklearn.isotonic import IsotonicRegression

    _check(quality, target)
    regression = IsotonicRegression(y_min=0.0, y_max=1.0).fit(quality, target)
    return {
        "kind": "isotonic",
        "quality": [float(value) for value in regression.X_thresholds_],
        "calibrated": [float(value) for value in regression.y_thresholds_],
        "n": len(quality),
    }


FITS: Final[dict[str, Callable[[Vector, Vector], Calibration]]] = {
    AFFINE_LOGIT: fit_affine_logit,
    "isotonic": fit_isotonic,
}
"""Fit by its kind."""


def apply(quality: Vector, calibration: Calibration) -> Vector:
    """
    Calibrate quality.

    Args:
        quality: Any shape, in [0, 1].
        calibration: As a fit returned it, or as JSON gave it back.

    Returns:
        Same shape, in [0, 1]; never falls where quality rises.

    Raises:
        ValueError: The kind is not known.
    """
    kind = calibration["kind"]
    if kind == AFFINE_LOGIT:
        return calibrate(np.asarray(quality, np.float64), calibration)
    if kind == "isotonic":
        return np.interp(quality, calibration["quality"], calibration["calibrated"])
    raise ValueError(f"calibration: expected kind {' or '.join(FITS)}, got {kind!r}.")


def cross_fitted(quality: Vector, target: Vector, kind: str, seed: int = 0) -> Vector:
    """
    Calibrate each picture by a fit on others: `FOLDS` parts, each by a fit on the rest.

    Args:
        quality: Shape (N,), of the validation split, in [0, 1].
        target: Shape (N,), ratings mapped to [0, 1].
        kind: A key of `FITS`.
        seed: Seed of the division into parts.

    Returns:
        Shape (N,), in [0, 1].
    """
    fold = np.random.default_rng(seed).permutation(len(quality)) % FOLDS
    calibrated = np.empty_like(quality)
    for number in range(FOLDS):
        held_out = fold == number
        fitted = FITS[kind](quality[~held_out], target[~held_out])
        calibrated[held_out] = apply(quality[held_out], fitted)
    return calibrated


def cross_validated(quality: Vector, target: Vector, seed: int = 0) -> dict[str, float]:
    """
    Say what each kind gives on pictures that it was not fitted on.

    Args:
        quality: Shape (N,), of the validation split, in [0, 1].
        target: Shape (N,), ratings mapped to [0, 1].
        seed: Seed of the division into parts.

    Returns:
        RMSE in points by kind, and `raw` without calibration.
    """
    predictions = {"raw": quality}
    for kind in FITS:
        predictions[kind] = cross_fitted(quality, target, kind, seed)
    return {
        kind: float(100 * np.sqrt(((predicted - target) ** 2).mean()))
        for kind, predicted in predictions.items()
    }


def reliability(quality: Vector, target: Vector, bins: int = RELIABILITY_BINS) -> list[Row]:
    """
    Compare mean score and mean rating in bins of equally many pictures.

    Args:
        quality: Shape (N,), in [0, 1], calibrated or not.
        target: Shape (N,), ratings mapped to [0, 1].
        bins: How many.

    Returns:
        Rows of `error_by_score_band`, for `training.measure.plots.reliability`. A calibrated score
        has `bias_100` near 0 in each.
    """
    return error_by_score_band(100 * quality, 100 * target, equal_count_edges(100 * quality, bins))


def comparison(quality: Vector, calibrated: Vector, target: Vector) -> dict[str, Any]:
    """
    Say what a calibration does on pictures that it was not fitted on.

    Args:
        quality: Shape (N,), the network's.
        calibrated: Shape (N,): of another split, or `cross_fitted`.
        target: Shape (N,), ratings mapped to [0, 1].

    Returns:
        Under `raw` and `calibrated` each: `srocc`, `plcc`, `mae_100`, `rmse_100`, the rows of
        `reliability`, and `calibration_error_100` (mean size of their bias, by pictures).
    """
    return {"raw": _report(quality, target), "calibrated": _report(calibrated, target)}


def _report(quality: Vector, target: Vector) -> dict[str, Any]:
    measured = agreement(quality, target)
    rows = reliability(quality, target)
    weights = [row["n"] for row in rows]
    return {
        **{name: measured[name] for name in ("srocc", "plcc", "mae_100", "rmse_100")},
        "calibration_error_100": float(
            np.average([abs(row["bias_100"]) for row in rows], weights=weights)
        ),
        "reliability": rows,
    }


def _check(quality: Vector, target: Vector) -> None:
    if quality.shape != target.shape or quality.ndim != 1 or len(quality) < MIN_PICTURES:
        raise ValueError(
            f"calibration: expected two equally long vectors of at least {MIN_PICTURES}, "
            f"got {quality.shape} and {target.shape}. Fit on the whole validation split."
        )
    for name, values in (("quality", quality), ("target", target)):
        if not bool(np.all((values >= 0) & (values <= 1))):  # false for NaN too
            raise ValueError(
                f"{name}: expected numbers in [0, 1], got {values.min():g} to {values.max():g}."
            )
    if np.ptp(quality) == 0:
        raise ValueError(
            f"calibration: expected qualities that differ, got {quality[0]:g} for all."
        )


def _logit(quality: Vector) -> Vector:
    clipped = np.clip(np.asarray(quality, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(clipped / (1 - clipped))
