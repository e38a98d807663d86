"""
How far the rating may lie from the score: split conformal intervals, one width a score band.

With pictures that neither trained the network nor chose its epoch, an interval of half the width
of the k-th smallest error, k = ceil((n + 1) * coverage), holds the rating of a new picture of
the same kind with at least that probability, whatever the network (Lei et al., "Distribution-Free
Predictive Inference for Regression", 2018, section 2.2; by groups: Vovk et al., "Algorithmic
Learning in a Random World", 2005, section 4.5). By band of the predicted score, because errors
in the middle of the scale are larger than at its ends. On other kinds of pictures nothing is
promised.

The table is plain data for a model's card, and `iqa.tasks.score_scales` makes intervals of it.
`training.calibrate` fits it on validation pictures, each calibrated by a fit on others;
`training.evaluate` prints `measure` on the test split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from iqa.tasks.score_scales import IntervalTable, interval
from numpy.typing import NDArray

from training.measure.score_bands import band_of

Vector = NDArray[np.float64]
Table = dict[str, Any]
"""JSON: `method`, `coverage`, `n`, and `bands`, each with `low`, `high`, `n`, `half_width` in
points; a band holds its lower edge and not its upper one, the last one 100 too."""

METHOD: Final = "split conformal by score band"
COVERAGE: Final = 0.9
BANDS: Final = 4
"""Defaults of `score_scale.fit`; here, for `training.calibrate --help` does not wait for scipy."""

# The coverage that n pictures give differs from the nominal one from draw to draw, with a
# standard deviation of about sqrt(c (1 - c) / (n + 2)): 3 percent points at n = 100, c = 0.9.
MIN_PICTURES: Final = 100


def fit(
    predicted: Vector,
    rated: Vector,
    coverage: float,
    edges: Sequence[float],
    min_pictures: int = MIN_PICTURES,
) -> Table:
    """
    Find the half width of the interval in each band of the score.

    Args:
        predicted: Shape (N,), scores in [0, 100], as they will be served.
        rated: Shape (N,), ratings mapped to [0, 100].
        coverage: Share of ratings that shall lie in their interval, in (0, 1).
        edges: Edges of the bands, rising from 0 to 100; `score_bands.equal_count_edges`.
        min_pictures: A band with fewer joins the smaller of its neighbours.

    Returns:
        See `Table`.

    Raises:
        ValueError: Vectors that do not match or leave the scale, or too few pictures for that
            coverage in all bands together.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage: expected a share in (0, 1), got {coverage}.")
    if predicted.shape != rated.shape or predicted.ndim != 1:
        raise ValueError(
            f"conformal: expected two equally long vectors, got {predicted.shape} "
            f"and {rated.shape}."
        )
    if not bool(np.all((rated >= 0) & (rated <= 100))):  # false for NaN too
        raise ValueError("rated: expected ratings in [0, 100], got others. Map them first.")
    edges = _joined(predicted, edges, max(min_pictures, _fewest(coverage)))
    band = band_of(predicted, edges)
    error = np.abs(predicted - rated)
    return {
        "method": METHOD,
        "coverage": coverage,
        "n": len(predicted),
        "bands": [
            {
                "low": float(low),
                "high": float(high),
                "n": int((band == number).sum()),
                "half_width": _quantile(error[band == number], coverage),
            }
            for number, (low, high) in enumerate(pairwise(edges))
        ],
    }


def measure(predicted: Vector, rated: Vector, table: IntervalTable) -> dict[str, Any]:
    """
    Say how often the intervals held on pictures that they were not fitted on.

    Args:
        predicted: Shape (N,), scores in [0, 100].
        rated: Shape (N,), ratings mapped to [0, 100].
        table: Of `fit`.

    Returns:
        `n`, `coverage` and `mean_width` (points) of all, and under `bands` the same with `low`
        and `high` for each band that holds pictures.
    """
    ends = np.array([interval(float(score), table) for score in predicted]).reshape(-1, 2)
    is_held = (ends[:, 0] <= rated) & (rated <= ends[:, 1])
    width = ends[:, 1] - ends[:, 0]
    edges = [0.0, *(row["high"] for row in table["bands"])]
    band = band_of(predicted, edges)

    def summary(chosen: NDArray[np.bool_]) -> dict[str, float]:
        return {
            "n": int(chosen.sum()),
            "coverage": float(is_held[chosen].mean()),
            "mean_width": float(width[chosen].mean()),
        }

    return {
        **summary(np.ones(len(predicted), bool)),
        "bands": [
            {"low": edges[number], "high": edges[number + 1], **summary(band == number)}
            for number in np.unique(band)
        ],
    }


def _fewest(coverage: float) -> int:
    """Return the fewest pictures with which the k-th smallest error exists."""
    n = 1
    while _rank(n, coverage) > n:
        n += 1
    return n


def _rank(n: int, coverage: float) -> int:
    # Less a rounding error: 100 * 0.55 is 55.00000000000001.
    return math.ceil((n + 1) * coverage - 1e-9)


def _quantile(error: Vector, coverage: float) -> float:
    rank = _rank(len(error), coverage)
    if rank > len(error):
        raise ValueError(
            f"conformal: expected at least {_fewest(coverage)} pictures for a coverage of "
            f"{coverage:g}, got {len(error)}. Hold out more, or lower the coverage."
        )
    return float(np.sort(error)[rank - 1])


def _joined(predicted: Vector, edges: Sequence[float], fewest: int) -> list[float]:
    """Take out edges until each band holds enough pictures, or one band is left."""
    kept = list(edges)
    while True:
        counts = np.bincount(band_of(predicted, kept), minlength=len(kept) - 1)
        smallest = int(counts.argmin())
        if len(kept) == 2 or counts[smallest] >= fewest:
            return kept
        # The neighbour below is joined by taking out edge `smallest`, the one above by the next.
        below = counts[smallest - 1] if smallest > 0 else np.inf
        above = counts[smallest + 1] if smallest + 1 < len(counts) else np.inf
        del kept[smallest if below <= above else smallest + 1]
