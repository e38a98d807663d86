"""
The reference that traffic is compared with: how each measure was spread over some pictures.

It stands in the model's card as `drift`. A measure's values are counted by bins that end at fixed
shares of the reference, so a worker keeps some numbers for each and no value.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from iqa.drift.measures import NAMES, Measures
from iqa.errors import CheckpointMismatch
from numpy.typing import NDArray

DRIFT: Final = "drift"
STEP: Final = 1e-6
"""Measures are rounded to it: a bin of this width holds one value, which many pictures share."""
MAX_BINS: Final = 20
"""Each is a time series a version."""
OTHER: Final = "other"
"""Kind of what the reference does not name."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """
    How one measure is spread in the reference.

    Attributes:
        edges: Of bins of numbers, rising; a bin holds its lower edge and not its upper one.
        kinds: In place of edges, what a measure in words can be.
        counts: Pictures of the reference by bin, the lowest first; of kinds, then `OTHER`.
        limit: Largest distance that is no drift, see `iqa.drift.comparison`; None: the reference
            does not say what is usual, and the measure is counted and not tested.
    """

    edges: tuple[float, ...] = ()
    kinds: tuple[str, ...] = ()
    counts: tuple[int, ...]
    limit: float | None

    @property
    def labels(self) -> tuple[str, ...]:
        """Return a name for each bin."""
        if not self.edges:
            return (*self.kinds, OTHER)
        starts = [self._start(place) for place in range(len(self.edges))]
        between = [
            _number(low) if high - low < 2 * STEP else f"{start} to {_number(high)}"
            for (low, high), start in zip(pairwise(self.edges), starts, strict=False)
        ]
        first = "0" if self.edges[0] == STEP else f"below {_number(self.edges[0])}"
        last = starts[-1] if starts[-1].startswith("over") else f"from {starts[-1]}"
        return (first, *between, last)

    def _start(self, place: int) -> str:
        """Name the lower end of the bin that begins at an edge."""
        before = self.edges[place - 1] if place else 0.0
        is_after_one_value = 0 < self.edges[place] - before < 2 * STEP
        return f"over {_number(before)}" if is_after_one_value else _number(self.edges[place])

    def bin_of(self, value: float | str) -> int:
        """Return the place of the bin that holds a value."""
        if isinstance(value, str):
            return self.kinds.index(value) if value in self.kinds else len(self.kinds)
        return bisect_right(self.edges, value)

    def count(self, values: NDArray[Any]) -> list[int]:
        """Return how many values lie in each bin: an array of numbers, or of words."""
        if self.edges:
            places = np.searchsorted(np.array(self.edges), values, side="right")
            return np.bincount(places, minlength=len(self.labels)).tolist()
        found = [int(np.count_nonzero(values == kind)) for kind in self.kinds]
        return [*found, len(values) - sum(found)]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """
    How all measures are spread in the reference.

    Attributes:
        spreads: By measure, in the order of `NAMES`.
        pictures: How many there were.
    """

    spreads: Mapping[str, Spread]
    pictures: int

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Reference | None:
        """
        Read the reference of a card.

        Returns:
            None where the card has none.

        Raises:
            CheckpointMismatch: It was written by other code, or by hand.
        """
        if DRIFT not in card:
            return None
        told = card[DRIFT]
        try:
            spreads = {name: _spread(told["measures"][name]) for name in told["measures"]}
            reference = cls(
                spreads={name: spreads[name] for name in NAMES if name in spreads},
                pictures=int(told["pictures"]),
            )
            _check(reference, spreads)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointMismatch(
                "card, drift: expected a reference as training.drift_reference writes it, got "
                f"{type(error).__name__}: {error}. Make it again."
            ) from error
        return reference

    def document(self) -> dict[str, Any]:
        """Return it as a card holds it."""
        return {
            "pictures": self.pictures,
            "measures": {
                name: {
                    **({"kinds": list(s.kinds)} if not s.edges else {"edges": list(s.edges)}),
                    "counts": list(s.counts),
                    "limit": s.limit,
                }
                for name, s in self.spreads.items()
            },
        }

    def bins_of(self, measures: Measures) -> list[tuple[str, int]]:
        """Return the name and the bin of each measure of a picture that the reference has."""
        return [
            (name, bisect_right(spread.edges, measures[name]))  # `bin_of`, without its call
            if spread.edges
            else (name, spread.bin_of(measures[name]))
            for name, spread in self.spreads.items()
            if name in measures
        ]


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _spread(told: Mapping[str, Any]) -> Spread:
    return Spread(
        edges=tuple(map(float, told.get("edges", ()))),
        kinds=tuple(map(str, told.get("kinds", ()))),
        counts=tuple(map(int, told["counts"])),
        limit=None if told["limit"] is None else float(told["limit"]),
    )


def _check(reference: Reference, told: Mapping[str, Spread]) -> None:
    unknown = sorted(told.keys() - set(NAMES))
    if unknown or not told:
        raise ValueError(f"measures {', '.join(unknown) or 'none'}")
    if reference.pictures < 1:
        raise ValueError(f"{reference.pictures} pictures")
    for name, spread in told.items():
        if not _is_sound(spread, reference.pictures):
            raise ValueError(f"{name}: {spread}")


def _is_sound(spread: Spread, pictures: int) -> bool:
    edges: Sequence[float] = spread.edges
    bins = len(edges or spread.kinds) + 1
    return (
        all(map(math.isfinite, edges))
        and all(low < high for low, high in pairwise(edges))
        and bool(edges) != bool(spread.kinds)
        and all(map(str.isalnum, spread.kinds))  # they become labels of a metric
        and len(spread.counts) == bins <= MAX_BINS
        and min(spread.counts) >= 0
        and sum(spread.counts) == pictures
        and (spread.limit is None or (math.isfinite(spread.limit) and spread.limit > 0))
    )
