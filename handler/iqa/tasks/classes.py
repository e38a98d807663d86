"""
The task `classes`: which of the classes that the card names an image shows, and how surely.

The network's outputs are probabilities. A card may hold a temperature, fitted on validation images,
by which they become calibrated: of the replies with a confidence of 0.8, four in five are right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from iqa.errors import CheckpointMismatch
from iqa.tasks.task import Card, Head, Outputs, Reader, Reply
from numpy.typing import NDArray

TEMPERATURE: Final = "temperature"
DECIMALS: Final = 6
ALL_SHOWN: Final = 20
"""With more classes than this a reply holds the likeliest `TOP_SHOWN` alone."""
TOP_SHOWN: Final = 5
# The least normal float32: a probability of 0 has no logarithm.
SMALLEST: Final = 1.2e-38


class Classes:
    """One class of several."""

    name = "classes"

    def head(self, card: Card) -> Head:
        """Return one output a class."""
        return Head(n_outputs=len(class_names_of(card)), activation="softmax")

    def labels(self, card: Card) -> Sequence[str]:
        """Return the names of the classes, in the order of the outputs."""
        return class_names_of(card)

    def reader(self, card: Card) -> Reader:
        """
        Return what names the likeliest class, and the probabilities, the greatest first.

        Without `top_k` they are all, or of more than `ALL_SHOWN` the likeliest `TOP_SHOWN`.

        Raises:
            CheckpointMismatch: The names of the classes or the calibration are refused.
        """
        names, temperature = class_names_of(card), temperature_of(card)
        usual = len(names) if len(names) <= ALL_SHOWN else TOP_SHOWN

        def read(outputs: Outputs, top_k: int | None = None) -> Reply:
            found = calibrated(np.asarray(outputs, dtype=np.float64), temperature)
            if not abs(float(found.sum()) - 1.0) < 1e-3:  # false for NaN too
                raise ValueError(f"probabilities: expected a sum of 1, got {found.sum()}.")
            order = np.argsort(-found, kind="stable")[: usual if top_k is None else top_k]
            best = int(order[0])
            return {
                "predicted_class": best,
                "predicted_label": names[best],
                "confidence": round(float(found[best]), DECIMALS),
                "probabilities": {names[i]: round(float(found[i]), DECIMALS) for i in order},
            }

        return read

    def difference(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> float:
        """
        Return the largest difference between the probabilities of a class, in percent.

        A class that one reply leaves out is no likelier than the least that it shows.
        """
        ours, theirs = expected["probabilities"], got["probabilities"]
        if not ours or not theirs:
            return math.inf
        least_of_ours, least_of_theirs = min(ours.values()), min(theirs.values())
        return 100 * max(
            abs(float(ours.get(name, least_of_ours)) - float(theirs.get(name, least_of_theirs)))
            for name in {*ours, *theirs}
        )


def class_names_of(card: Card) -> list[str]:
    """
    Return the names of the classes, in the order of the outputs.

    Raises:
        CheckpointMismatch: They are not two or more names, each of them once.
    """
    names = card.get("class_names")
    is_right = (
        isinstance(names, list)
        and len(names) >= 2
        and all(isinstance(name, str) and name.strip() for name in names)
        and len(set(names)) == len(names)
    )
    if not is_right:
        raise CheckpointMismatch(
            f"card, class_names: expected two or more names, each of them once, got {names!r:.200}."
        )
    return list(names)  # type: ignore[arg-type]  # checked above


def temperature_of(card: Card) -> float:
    """
    Return by what the logits are divided; 1 where the card holds no calibration.

    Raises:
        CheckpointMismatch: The calibration was written by other code, or by hand.
    """
    fitted = card.get("calibration")
    if fitted is None:
        return 1.0
    try:
        kind, temperature = fitted["kind"], float(fitted["temperature"])
        is_right = kind == TEMPERATURE and math.isfinite(temperature) and temperature > 0
    except (KeyError, TypeError, ValueError):
        is_right = False
    if not is_right:
        raise CheckpointMismatch(
            f"card, calibration: expected the kind {TEMPERATURE!r} and a temperature above 0, got "
            f"{fitted!r:.200}. Train again, or fit it again."
        )
    return temperature


def calibrated(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """
    Divide the logits by the temperature: the order of the classes stays.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
    section 4.2. The logits are the logarithms of the probabilities, but for a constant.

    Args:
        probabilities: Shape (..., K), of a softmax.
        temperature: Above 0; 1 changes nothing.

    Returns:
        Same shape, with a sum of 1.
    """
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    powers: NDArray[np.float64] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result
