"""
From scores to decisions: where to accept, where to reject, and how often that is wrong.

A picture is good where people rate it so. Accepting one that is not costs, rejecting a good one
costs, and so may asking a person. Of a decision's errors what is told was measured on pictures
that did not choose the threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]

FOLDS: Final = 10
BOOTSTRAP_SAMPLES: Final = 1000
RATES: Final = (
    "accepted", "rejected", "false_accept", "false_reject", "bad_among_accepted",
    "good_among_rejected",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """
    Two scores; between them a person decides.

    Attributes:
        accept_at: Lowest score that is accepted.
        reject_below: Scores under it are rejected; at most `accept_at`.
    """

    accept_at: float
    reject_below: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """
    What a decision costs, in any one unit; a right one costs nothing.

    Attributes:
        false_accept: A picture is accepted that people do not rate good.
        false_reject: A good one is rejected.
        review: A person looks at one; infinity where nobody does.
    """

    false_accept: float
    false_reject: float
    review: float = np.inf


Chooser = Callable[[Vector, NDArray[np.bool_]], Thresholds]
"""Takes scores and which pictures are good."""


def cheapest(costs: Costs) -> Chooser:
    """Return what chooses the thresholds with the least cost; the more lenient of equal ones."""

    def choose(scores: Vector, is_good: NDArray[np.bool_]) -> Thresholds:
        order = np.argsort(scores, kind="stable")
        ranked, good = scores[order], is_good[order].astype(float)
        # At place i the first i pictures are below. Cost of accepting the rest, of rejecting these.
        accepting = costs.false_accept * np.concatenate([np.cumsum((1 - good)[::-1])[::-1], [0.0]])
        rejecting = costs.false_reject * np.concatenate([[0.0], np.cumsum(good)])
        places = np.arange(len(ranked) + 1)
        can_cut = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
        accepting[~can_cut], rejecting[~can_cut] = np.inf, np.inf
        one = int(np.argmin(accepting + rejecting))
        low = high = one
        if np.isfinite(costs.review):
            # Reviewing places low..high costs review x (high - low): both ends are free.
            low_cost = rejecting - costs.review * places
            high_cost = accepting + costs.review * places
            best_low = np.minimum.accumulate(low_cost)
            two = int(np.argmin(high_cost + best_low))
            if high_cost[two] + best_low[two] < accepting[one] + rejecting[one]:
                low, high = int(np.argmin(low_cost[: two + 1])), two
        return Thresholds(accept_at=_cut(ranked, high), reject_below=_cut(ranked, low))

    return choose


def keeping(share: float) -> Chooser:
    """Return what chooses the threshold that this share of the pictures reaches."""

    def choose(scores: Vector, is_good: NDArray[np.bool_]) -> Thresholds:
        ranked = np.sort(scores)
        at = _cut(ranked, round((1 - share) * len(ranked)))
        return Thresholds(accept_at=at, reject_below=at)

    return choose


def fixed(thresholds: Thresholds) -> Chooser:
    """Return what always answers the same."""
    return lambda scores, is_good: thresholds


def rates(thresholds: Thresholds, scores: Vector, is_good: NDArray[np.bool_]) -> dict[str, float]:
    """
    Count what the thresholds do.

    Args:
        thresholds: The decision.
        scores: Shape (N,), points.
        is_good: Shape (N,), by the people's ratings.

    Returns:
        `accepted`, `rejected`, `false_accept`, `false_reject`: shares of all pictures;
        `bad_among_accepted`, `good_among_rejected`: shares of those (0 of none).
    """
    accepted, rejected = scores >= thresholds.accept_at, scores < thresholds.reject_below
    return _rates_of(accepted, rejected, is_good)


def expected(
    choose: Chooser, scores: Vector, is_good: NDArray[np.bool_], seed: int = 0
) -> tuple[Thresholds, dict[str, Any]]:
    """
    Choose thresholds, and say what to expect of them on other pictures.

    Each tenth of the pictures is decided by the thresholds that the other nine choose, so the
    rates are not flattered by the choice. Intervals are 95 % percentile bootstrap over pictures.

    Args:
        choose: The rule.
        scores: Shape (N,), points; at least 20.
        is_good: Shape (N,).
        seed: Of the folds and the resampling.

    Returns:
        The thresholds by all pictures; by each of `RATES` its `value` and `ci95`.

    Raises:
        ValueError: Too few pictures, or all of them good, or none.
    """
    n_good = int(is_good.sum())
    if len(scores) < 20 or n_good in (0, len(scores)):
        raise ValueError(
            f"ratings: expected at least 20 pictures, good and bad ones, got {len(scores)} of "
            f"which {n_good} are good. Move --good-from, or give more pictures."
        )
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(len(scores)) % FOLDS
    accepted, rejected = (np.zeros(len(scores), dtype=bool) for _ in range(2))
    for fold in range(FOLDS):
        inside = fold_of == fold
        found = choose(scores[~inside], is_good[~inside])
        accepted[inside] = scores[inside] >= found.accept_at
        rejected[inside] = scores[inside] < found.reject_below
    return choose(scores, is_good), with_intervals(accepted, rejected, is_good, seed)


def with_intervals(
    accepted: NDArray[np.bool_], rejected: NDArray[np.bool_], is_good: NDArray[np.bool_],
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return each of `RATES` with its 95 % interval, of decisions that are made."""
    value = _rates_of(accepted, rejected, is_good)

    def statistic(a: Vector, r: Vector, g: Vector) -> Vector:
        drawn = _rates_of(a > 0, r > 0, g > 0)
        return np.array([drawn[name] for name in RATES])

    data = tuple(part.astype(np.float64) for part in (accepted, rejected, is_good))
    ends = stats.bootstrap(
        data, statistic, paired=True, vectorized=False, n_resamples=BOOTSTRAP_SAMPLES,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return {
        name: {"value": value[name], "ci95": [float(ends.low[i]), float(ends.high[i])]}
        for i, name in enumerate(RATES)
    }


def _rates_of(
    accepted: NDArray[np.bool_], rejected: NDArray[np.bool_], is_good: NDArray[np.bool_]
) -> dict[str, float]:
    n, n_accepted, n_rejected = len(is_good), int(accepted.sum()), int(rejected.sum())
    bad_in, good_out = int((accepted & ~is_good).sum()), int((rejected & is_good).sum())
    return {
        "accepted": n_accepted / n,
        "rejected": n_rejected / n,
        "false_accept": bad_in / n,
        "false_reject": good_out / n,
        "bad_among_accepted": bad_in / max(n_accepted, 1),
        "good_among_rejected": good_out / max(n_rejected, 1),
    }


def _cut(ranked: Vector, place: int) -> float:
    """Return the score between place - 1 and place; 0 and above 100 at the ends."""
    if place <= 0:
        return 0.0
    if place >= len(ranked):
        return 100.01
    return round(float(ranked[place - 1] + ranked[place]) / 2, 2)
