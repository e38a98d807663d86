"""Numbers on the command line, refused where a command could not work with them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> Callable[[str], float]:
    """
    Return a `type` for argparse: a finite number within bounds.

    Args:
        above: The number is larger.
        at_least: The number is not smaller.
        below: The number is smaller.
        at_most: The number is not larger.
    """
    told = _in_words({"above": above, "from": at_least, "below": below, "up to": at_most})

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (above < value < below and at_least <= value <= at_most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"expected a number {told}, got {text!r}.")
        return value

    return read


def whole_number(at_least: int) -> Callable[[str], int]:
    """Return a `type` for argparse: a whole number that is not smaller."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {at_least}, got {text!r}."
            )
        return value

    return read


def _in_words(bounds: dict[str, float]) -> str:
    said = (f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    return " and ".join(said)
