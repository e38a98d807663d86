"""Numbers on the command line, refused where a command could not work with them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(
    *, above: float | None = None, at_least: float | None = None, at_most: float = math.inf
) -> Callable[[str], float]:
    """
    Return a `type` for argparse: a finite number between two bounds.

    Args:
        above: The number is larger.
        at_least: The number is not smaller.
        at_most: The number is not larger.
    """
    bounds = [
        *([f"above {above:g}"] if above is not None else []),
        *([f"from {at_least:g} on"] if at_least is not None else []),
        *([f"up to {at_most:g}"] if at_most < math.inf else []),
    ]

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_good = (
            math.isfinite(value)
            and (above is None or value > above)
            and (at_least is None or value >= at_least)
            and value <= at_most
        )
        if not is_good:
            told = " ".join(["a number", *bounds])
            raise argparse.ArgumentTypeError(f"expected {told}, got {text!r}.")
        return value

    return read
