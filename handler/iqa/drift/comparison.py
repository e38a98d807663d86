"""
Compare a window of traffic with the reference: the chi-squared test of two samples, by bins.

The distance of a measure is chi-squared as if the window held at most `WINDOW` pictures: of a
million pictures every difference is significant, and few of them matter. The same, in PromQL:
torchserve/monitoring/recording_rules.yml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from iqa.drift.measures import NAMES, NETWORK, PICTURES, Measures
from iqa.drift.reference import Reference
from numpy.typing import NDArray

Verdict = Literal["nothing", "pictures", "model"]
Columns = Mapping[str, NDArray[Any]]
"""By measure: numbers, or words, of each picture."""
WINDOW: Final = 2000
"""A larger window counts as one of so many pictures with the same shares."""
MIN_PICTURES: Final = 200
"""Below, expected counts are too small for chi-squared, and little would be found."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """
    A window beside the reference.

    Attributes:
        pictures: Of the window.
        counts: By measure, pictures by bin.
        over: By measure that is tested, its distance by its limit; none where the pictures are
            too few to tell.
        moved: Measures that are over their limit, the farthest first.
    """

    pictures: int
    counts: Mapping[str, Sequence[int]]
    over: Mapping[str, float]
    moved: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """
        Return what moved.

        `pictures`: a measure in which no network takes part. `model`: only what the network made
        of them. Every version is compared with its own reference, so a new version on the same
        pictures moves nothing.
        """
        if any(name in PICTURES for name in self.moved):
            return "pictures"
        return "model" if any(name in NETWORK for name in self.moved) else "nothing"


def distance(window: Sequence[int], reference: Sequence[int]) -> float:
    """
    Return chi-squared of two samples by bins, for a window of at most `WINDOW` pictures.

    Source: Press et al., "Numerical Recipes", 3rd edition, equation 14.3.3, for samples of
    different sizes.

    Args:
        window: Pictures by bin.
        reference: The same of the reference.

    Returns:
        At least 0; 0 where one of them is empty.
    """
    seen, known = np.asarray(window, np.float64), np.asarray(reference, np.float64)
    n, total = float(seen.sum()), float(known.sum())
    if n == 0 or total == 0:
        return 0.0
    filled = (seen + known) > 0
    differences = (total * seen - n * known)[filled] ** 2
    chi_squared = float((differences / (n * total * (seen + known)[filled])).sum())
    return chi_squared * min(1.0, WINDOW / n * (n + total) / (WINDOW + total))


def columns_of(pictures: Sequence[Measures]) -> Columns:
    """Return pictures, each by its measures, as columns; a measure that one lacks is left out."""
    return {
        name: np.array([one[name] for one in pictures])
        for name in NAMES
        if all(name in one for one in pictures)
    }


def compare(reference: Reference, columns: Columns) -> Compared:
    """
    Compare pictures with the reference, by the measures that both have.

    Args:
        reference: Of the model that measured them, or of another one.
        columns: Of one length.
    """
    spreads = {name: s for name, s in reference.spreads.items() if name in columns}
    counts = {name: spread.count(columns[name]) for name, spread in spreads.items()}
    pictures = max((len(column) for column in columns.values()), default=0)
    distances = {name: distance(counts[name], s.counts) for name, s in spreads.items()}
    over = {
        name: distances[name] / spread.limit
        for name, spread in spreads.items()
        if spread.limit is not None and pictures >= MIN_PICTURES
    }
    moved = sorted((name for name in over if over[name] > 1), key=lambda name: -over[name])
    return Compared(pictures=pictures, counts=counts, over=over, moved=tuple(moved))
