"""
Whether a candidate does as well as the version before, by what both answered in the same time.

A candidate is refused where a bound is passed by more than chance explains. Bounds that come out of
the old version's own answers are guesses where these are few: failures and slow answers must be
more frequent than the old version's beyond chance as well (`difference`). Each question is asked
at every look and once more at the end of a step; a false alarm in any of them is as rare as
`FALSE_ALARMS` says, by Bonferroni, for requests that are independent of each other. What the
requests of a step are too few to show passes: the report says how far it may lie.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
from scipy import stats

FALSE_ALARMS: Final = 0.01
"""At most so many steps of a candidate that is as good as the old version are ended by chance."""
QUESTIONS: Final = 4
MAX_FAILED: Final = 0.01
"""Share of requests that the candidate may fail on, or twice the old version's."""
MIN_FAILED: Final = 3
MAX_MORE_REFUSED: Final = 0.02
"""How much larger its share of refused pictures may be."""
SLOWER: Final = 1.5
SLOW_QUANTILE: Final = 0.95
SLACK_S: Final = 0.02
MAX_SLOW: Final = 0.10
"""At most so many of its answers may take more than `SLOWER` times the 95th percentile of the old
version's, and `SLACK_S`."""
MIN_COMPARED: Final = 20
"""Fewer answers of the old version are nothing to compare with."""


@dataclass(kw_only=True)
class Arm:
    """
    What one version did in one time.

    Attributes:
        failed: Requests that it answered with a fault of the server, or not at all.
        refused: Requests whose picture it refused, 4xx.
        seconds: How long each of its answers took that is neither.
        scores: Answers by tenth of the score, or by label, in the order of the scale if it has one.
        kept_out: Requests that it was not asked for, because its queue was full.
    """

    failed: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)
    scores: Counter[str] = field(default_factory=Counter)
    kept_out: int = 0

    @property
    def asked(self) -> int:
        """How many requests it was asked."""
        return self.failed + self.refused + len(self.seconds)

    def quantile_s(self, share: float) -> float:
        """Return how long at most this share of its answers took; NaN of none."""
        return float(np.quantile(self.seconds, share)) if self.seconds else math.nan


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """
    How far a candidate may be from the old version.

    Attributes:
        score_shift: By how much the share of scores below any tenth, or the share of any label, may
            differ; in (0, 1).
        looks: How often it is judged before the end of the step.
    """

    score_shift: float
    looks: int

    def chance(self, *, is_last: bool) -> float:
        """Return the false-alarm rate of one question at one look: half of all is for the last."""
        spent = FALSE_ALARMS / 2 / QUESTIONS
        return spent if is_last else spent / max(self.looks, 1)


def fault(candidate: Arm, old: Arm, bounds: Bounds, *, is_last: bool) -> str | None:
    """
    Return in which way a candidate is outside of the bounds; None: in none that shows.

    Args:
        candidate: What it did in this step.
        old: What the old version did in the same time.
        bounds: See `Bounds`.
        is_last: Whether the step ends.
    """
    chance = bounds.chance(is_last=is_last)
    return next(
        filter(
            None,
            (
                _failures(candidate, old, chance),
                _refusals(candidate, old, chance),
                _latency(candidate, old, chance),
                _scores(candidate, old, bounds.score_shift, chance),
            ),
        ),
        None,
    )


def _failures(candidate: Arm, old: Arm, chance: float) -> str | None:
    if candidate.failed < MIN_FAILED:
        return None
    share = old.failed / old.asked if old.asked else 0.0
    most = min(max(MAX_FAILED, 2 * share), 1.0)
    if _chance_of(candidate.failed, candidate.asked, most) > chance:
        return None
    if old.asked:  # of few answers its share is a guess: it must be the lower one beyond chance too
        low, _ = difference(candidate.failed, candidate.asked, old.failed, old.asked, chance)
        if low <= 0:
            return None
    return (
        f"expected at most {most:.1%} of its requests to fail (the old version: {share:.1%}), got "
        f"{candidate.failed} of {candidate.asked}. Clients got the old version's answers instead."
    )


def _refusals(candidate: Arm, old: Arm, chance: float) -> str | None:
    if old.asked < MIN_COMPARED or not candidate.asked:
        return None
    low, _ = difference(candidate.refused, candidate.asked, old.refused, old.asked, chance)
    if low <= MAX_MORE_REFUSED:
        return None
    return (
        f"expected to refuse at most {MAX_MORE_REFUSED:.0%} more of the pictures than the old "
        f"version ({old.refused} of {old.asked}), got {candidate.refused} of {candidate.asked}."
    )


def _latency(candidate: Arm, old: Arm, chance: float) -> str | None:
    if len(old.seconds) < MIN_COMPARED:
        return None
    limit_s = max(SLOWER * old.quantile_s(SLOW_QUANTILE), SLACK_S)
    slow, slow_old = (sum(one > limit_s for one in arm.seconds) for arm in (candidate, old))
    if _chance_of(slow, len(candidate.seconds), MAX_SLOW) > chance:
        return None
    low, _ = difference(slow, len(candidate.seconds), slow_old, len(old.seconds), chance)
    if low <= 0:  # of few answers the 95th percentile is a guess, as above
        return None
    return (
        f"expected at most {MAX_SLOW:.0%} of its answers to take over {1000 * limit_s:.0f} ms, "
        f"{SLOWER:g} times the old version's 95th percentile, got {slow} of "
        f"{len(candidate.seconds)}."
    )


def _scores(candidate: Arm, old: Arm, bound: float, chance: float) -> str | None:
    n_new, n_old = candidate.scores.total(), old.scores.total()
    if min(n_new, n_old) < MIN_COMPARED:
        return None
    cuts = list(_cuts(candidate.scores, old.scores))
    for what, x_new, x_old in cuts:
        low, high = difference(x_new, n_new, x_old, n_old, chance / (2 * len(cuts)))
        if low > bound or high < -bound:
            return (
                f"expected its share of scores {what} within {100 * bound:g} points of the old "
                f"version's ({x_old / n_old:.0%}), got {x_new / n_new:.0%} of {n_new}."
            )
    return None


def shift(candidate: Counter[str], old: Counter[str]) -> float:
    """Return the largest difference of a share, in [0, 1]; NaN where there is nothing."""
    n_new, n_old = candidate.total(), old.total()
    if not n_new or not n_old:
        return math.nan
    return max(abs(x_new / n_new - x_old / n_old) for _, x_new, x_old in _cuts(candidate, old))


def _cuts(candidate: Counter[str], old: Counter[str]) -> Iterator[tuple[str, int, int]]:
    """Yield how many scores lie below each tenth, or have each label: (what, candidate's, old)."""
    names = sorted(candidate.keys() | old.keys(), key=_place)
    if not all(map(_is_tenth, names)):
        for name in names:
            yield f"labelled {name}", candidate[name], old[name]
        return
    below_new = below_old = 0
    for name in names[:-1] or names:
        below_new, below_old = below_new + candidate[name], below_old + old[name]
        yield f"below {name.partition('-')[2]}", below_new, below_old


def _is_tenth(name: str) -> bool:
    low, _, high = name.partition("-")
    return low.isdecimal() and high.isdecimal()


def _place(name: str) -> tuple[int, str]:
    return (int(name.partition("-")[0]) if _is_tenth(name) else 0, name)


def _chance_of(count: int, n: int, share: float) -> float:
    """Return how likely it is that at least `count` of `n` are so by chance."""
    return float(stats.binom.sf(count - 1, n, share)) if count else 1.0


def difference(x_1: int, n_1: int, x_2: int, n_2: int, alpha: float) -> tuple[float, float]:
    """
    Return the confidence limits of a difference of two shares, each wrong at a rate of `alpha`.

    Newcombe's hybrid score method: R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, number
    10; Wilson's interval of each share.

    Args:
        x_1: How many of the first are so.
        n_1: Of how many, above 0.
        x_2: Of the second.
        n_2: Of how many, above 0.
        alpha: One-sided, in (0, 0.5).
    """
    z = -NormalDist().inv_cdf(alpha)
    p_1, p_2 = x_1 / n_1, x_2 / n_2
    (low_1, high_1), (low_2, high_2) = _wilson(p_1, n_1, z), _wilson(p_2, n_2, z)
    return (
        p_1 - p_2 - math.hypot(p_1 - low_1, high_2 - p_2),
        p_1 - p_2 + math.hypot(high_1 - p_1, p_2 - low_2),
    )


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)
