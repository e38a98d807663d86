"""How measures are spread over some pictures, and from which distance on a window has drifted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import numpy as np
from iqa.drift.comparison import Columns
from iqa.drift.reference import STEP, Reference, Spread
from numpy.typing import NDArray

SHARES: Final = (0.02, 0.1, 0.5, 0.9, 0.98)
"""Of the reference, at which bins end: what is damaged piles up in the outermost ones."""
FALSE_ALARMS: Final = 0.0001
"""Of a window in which nothing moved, over all measures together; a tenth of what is promised."""
MIN_PICTURES: Final = 500
# Where so many pictures have one and the same value, it gets a bin of its own.
ATOM: Final = 0.02


def fit(
    columns: Columns,
    *,
    untested: Collection[str] = (),
    false_alarms: float = FALSE_ALARMS,
) -> Reference:
    """
    Return the reference of pictures.

    Args:
        columns: What was measured of each picture; see `iqa.drift.comparison.columns_of`.
        untested: Names that are counted and never a reason to say that something moved, because
            these pictures do not tell what is usual: those of a data set that was cut to one size.
        false_alarms: Probability that a window of the same kind of pictures is said to have moved.

    Raises:
        ValueError: There are too few pictures, or a name is none of theirs.
    """
    pictures = len(next(iter(columns.values()), ()))
    if pictures < MIN_PICTURES:
        raise ValueError(
            f"pictures: expected at least {MIN_PICTURES}, got {pictures}. A reference of few "
            "does not tell chance from drift."
        )
    unknown = sorted(set(untested) - set(columns))
    if unknown:
        raise ValueError(
            f"untested: expected some of {', '.join(columns)}, got {', '.join(unknown)}."
        )
    each = false_alarms / max(1, len(columns) - len(set(untested)))
    spreads = {}
    for name, values in columns.items():
        bins = Spread(**_bins(values), counts=(), limit=None)
        counts = bins.count(values)
        limit = None if name in untested else _limit(sum(map(bool, counts)), each)
        spreads[name] = replace(bins, counts=tuple(counts), limit=limit)
    return Reference(spreads=spreads, pictures=pictures)


def _limit(filled: int, false_alarms: float) -> float:
    """Return the quantile of chi-squared, with a degree of freedom for each filled bin but one."""
    from scipy.stats import chi2  # slow: a help page shows `FALSE_ALARMS` without it

    return round(float(chi2.isf(false_alarms, max(1, filled - 1))), 3)


def _bins(values: NDArray[Any]) -> dict[str, Any]:
    if values.dtype.kind == "U":
        return {"kinds": tuple(np.unique(values).tolist())}
    return {"edges": _edges(values)}


def _edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Return quantiles, with a step of a millionth after one that many pictures share."""
    edges: set[float] = set()
    for quantile in np.quantile(values, SHARES, method="inverted_cdf").tolist():
        if np.mean(values == quantile) < ATOM:
            edges.add(float(f"{quantile:.4g}"))
        else:
            edges |= {round(quantile, 6), round(quantile + STEP, 6)}
    if values.min() == 0:  # nothing lies below it
        edges.discard(0.0)
    return tuple(sorted(edges))
