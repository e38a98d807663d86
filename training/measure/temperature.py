"""A temperature that makes probabilities right on average, fitted on validation images."""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
from iqa.tasks.classes import TEMPERATURE, calibrated
from numpy.typing import NDArray
from scipy import optimize

from training.data.ratings import Split
from training.measure.classification import calibration_error, measure

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

MIN_IMAGES: Final = 100
BOUNDS: Final = (0.05, 20.0)


def fit(outputs: Array, split: Split) -> dict[str, Any]:
    """
    Fit the temperature with the least cross-entropy.

    Args:
        outputs: Shape (N, K), probabilities of images that the network was not trained on.
        split: These images.

    Returns:
        `calibration`, for the card: `kind`, `temperature`, `n`, the `digest` of the split, and
        under `validation` cross-entropy and ECE `raw` and `calibrated`; the latter with two halves,
        each by a temperature that was fitted on the other.

    Raises:
        ValueError: Too few images.
    """
    if len(split) < MIN_IMAGES:
        raise ValueError(
            f"calibration: expected at least {MIN_IMAGES} validation images, got {len(split)}. "
            "The card stays without calibration."
        )
    held_out = np.empty_like(outputs)
    for half in (0, 1):
        other = _best(outputs[1 - half :: 2], split.target[1 - half :: 2])
        held_out[half::2] = calibrated(outputs[half::2], other)
    validation = {
        kind: {
            "cross_entropy": round(measure(rows, split.target)["cross_entropy"], 5),
            "ece": round(calibration_error(rows, split.target), 5),
        }
        for kind, rows in {"raw": outputs, "calibrated": held_out}.items()
    }
    return {
        "calibration": {
            "kind": TEMPERATURE,
            "temperature": round(_best(outputs, split.target), 5),
            "n": len(split),
            "digest": split.digest(),
            "validation": validation,
        }
    }


def fit_if_possible(outputs: Array, split: Split) -> dict[str, Any]:
    """Return what `fit` does; where that is refused, nothing, and a line in the log."""
    try:
        return fit(outputs, split)
    except ValueError as error:
        logger.warning("%s", error)
        return {}


def _best(outputs: Array, target: Array) -> float:
    def cross_entropy(log_temperature: float) -> float:
        found = measure(calibrated(outputs, float(np.exp(log_temperature))), target)
        return found["cross_entropy"]

    bounds = tuple(np.log(BOUNDS))
    return float(np.exp(optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
