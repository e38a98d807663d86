"""
How the network's quality becomes a score: what a card says of it, fitted on validation images.

Calibration and interval come from the same images without one flattering the other: the
interval's errors are those of images calibrated by a fit on other images
(`calibration.cross_fitted`), while the calibration that is served is fitted on all of them.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
from iqa.tasks.score_scales import AFFINE_LOGIT
from numpy.typing import NDArray

from training.data.ratings import Split
from training.measure import calibration, conformal
from training.measure.conformal import BANDS, COVERAGE
from training.measure.score_bands import equal_count_edges

logger = logging.getLogger(__name__)

Vector = NDArray[np.float64]

# With fewer, two parameters fit the noise, and the coverage is off by more than 3 points.
MIN_PICTURES: Final = 100


def fit(
    quality: Vector, split: Split, coverage: float = COVERAGE, bands: int = BANDS
) -> dict[str, Any]:
    """
    Fit what a card says of its scores.

    Args:
        quality: Shape (N,), the network's, of pictures that it was not trained on.
        split: These pictures.
        coverage: Share of ratings that the interval is to hold.
        bands: Bands of the score, as many as there are images for.

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
    target = split.target
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
    """Return the result of `fit`, or nothing with a line in the log if it is refused."""
    try:
        return fit(quality, split)
    except ValueError as error:
        logger.warning("%s", error)
        return {}
