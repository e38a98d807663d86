"""The judge of a canary: what it finds, how soon, and how often it is wrong."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from scripts.rollout import candidate_verdict
from scripts.rollout.candidate_verdict import Arm, Bounds

BOUNDS = Bounds(score_shift=0.15, looks=8)
TENTHS = ["30-40", "40-50", "50-60", "60-70", "70-80", "80-90"]
USUAL = [0.05, 0.15, 0.25, 0.3, 0.2, 0.05]


def _arm(
    n: int,
    rng: np.random.Generator,
    failed: float = 0.0,
    refused: float = 0.01,
    slower: float = 1.0,
    scores: list[float] | None = None,
) -> Arm:
    """Return what a version did on `n` requests."""
    n_failed = int(rng.binomial(n, failed))
    n_refused = int(rng.binomial(n - n_failed, refused))
    n_scored = n - n_failed - n_refused
    drawn = rng.multinomial(n_scored, scores or USUAL)
    return Arm(
        failed=n_failed,
        refused=n_refused,
        seconds=list(slower * rng.lognormal(np.log(0.03), 0.4, n_scored)),
        scores=Counter(dict(zip(TENTHS, map(int, drawn), strict=True))),
    )


def _sum(arms: list[Arm]) -> Arm:
    return Arm(
        failed=sum(arm.failed for arm in arms),
        refused=sum(arm.refused for arm in arms),
        seconds=[one for arm in arms for one in arm.seconds],
        scores=sum((arm.scores for arm in arms), Counter[str]()),
    )


@pytest.mark.parametrize("failed", [0.0, 0.005, 0.03])
def test_equal_versions_are_refused_no_more_often_than_stated(failed: float) -> None:
    """150 steps of 9 looks each, both versions drawn from one distribution."""
    rng = np.random.default_rng(int(1000 * failed))
    alarms = 0
    for _ in range(150):
        new: list[Arm] = []
        old: list[Arm] = []
        for look in range(BOUNDS.looks + 1):
            new.append(_arm(20, rng, failed))
            old.append(_arm(180, rng, failed))
            is_last = look == BOUNDS.looks
            if candidate_verdict.fault(_sum(new), _sum(old), BOUNDS, is_last=is_last):
                alarms += 1
                break
    # One in a hundred at most: 150 draws of that have more than 7 once in a thousand times.
    assert alarms <= stats.binom.isf(0.001, 150, candidate_verdict.FALSE_ALARMS)


@pytest.mark.parametrize(("failed", "slow", "n_old"), [(0.03, 0.0, 30), (0.0, 0.15, 20)])
def test_few_answers_of_the_old_version_are_no_reason_to_refuse_an_equal_one(
    failed: float, slow: float, n_old: int
) -> None:
    """By chance none of them failed, or none of them was of a large picture."""
    rng = np.random.default_rng(3)

    def arm(n: int) -> Arm:
        n_failed = int(rng.binomial(n, failed))
        seconds = np.where(rng.random(n - n_failed) < slow, 0.15, 0.03)
        return Arm(failed=n_failed, seconds=list(seconds))

    alarms = sum(
        candidate_verdict.fault(arm(600), arm(n_old), BOUNDS, is_last=True) is not None
        for _ in range(150)
    )
    assert alarms <= stats.binom.isf(0.001, 150, candidate_verdict.FALSE_ALARMS)


def test_failures_are_refused_where_the_old_version_was_not_asked() -> None:
    """Then the bound of any version holds."""
    said = candidate_verdict.fault(Arm(failed=9), Arm(), BOUNDS, is_last=True)
    assert said is not None and "got 9 of 9" in said


def test_a_candidate_on_a_bound_is_refused_no_more_often_than_stated() -> None:
    """As slow and as shifted as is allowed: the worst that may pass."""
    rng = np.random.default_rng(1)
    shifted = [0.05 + 0.15, *USUAL[1:3], 0.3 - 0.15, *USUAL[4:]]
    alarms = sum(
        candidate_verdict.fault(
            _arm(200, rng, 0.01, 0.03, scores=shifted), _arm(1800, rng), BOUNDS, is_last=True
        )
        is not None
        for _ in range(150)
    )
    assert alarms <= stats.binom.isf(0.001, 150, candidate_verdict.FALSE_ALARMS)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"failed": 0.2}, "of its requests to fail"),
        ({"refused": 0.2}, "expected to refuse at most 2%"),
        ({"slower": 2.5}, "1.5 times the old version's 95th percentile"),
        ({"scores": [0.0, 0.0, 0.05, 0.15, 0.3, 0.5]}, "of scores below"),
    ],
)
def test_what_is_worse_is_found_during_a_step(how: dict[str, object], words: str) -> None:
    """A clear fault shows in 200 requests of the candidate, in 49 of 50 tries."""
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        arms = _arm(200, rng, **how), _arm(1800, rng)  # type: ignore[arg-type]
        found.append(candidate_verdict.fault(*arms, BOUNDS, is_last=False))
    assert sum(words in str(one) for one in found) >= 49, found


def test_three_failures_of_three_are_enough() -> None:
    """A candidate that is dead needs no statistics to be long."""
    old = Arm(seconds=[0.03] * 30)
    many = Bounds(score_shift=0.15, looks=1200)
    assert candidate_verdict.fault(Arm(failed=2), old, many, is_last=False) is None
    assert candidate_verdict.fault(Arm(failed=3), old, many, is_last=False) is not None


def test_a_fault_that_both_have_is_not_the_candidates() -> None:
    """Overload, a broken client: what the old version suffers as well is its own bound."""
    rng = np.random.default_rng(2)
    both = {"failed": 0.3, "refused": 0.4, "slower": 5.0}
    for _ in range(50):
        arms = _arm(100, rng, **both), _arm(900, rng, **both)
        assert candidate_verdict.fault(*arms, BOUNDS, is_last=True) is None


def test_labels_are_compared_where_there_is_no_score() -> None:
    """Of a model of classes, each label's share."""
    old = Arm(seconds=[0.03] * 900, scores=Counter(cat=450, dog=450))
    same = Arm(seconds=[0.03] * 100, scores=Counter(cat=55, dog=45))
    other = Arm(seconds=[0.03] * 100, scores=Counter(cat=5, dog=45, bird=50))
    assert candidate_verdict.fault(same, old, BOUNDS, is_last=True) is None
    assert "of scores labelled bird within 15 points" in str(
        candidate_verdict.fault(other, old, BOUNDS, is_last=True)
    )
    assert candidate_verdict.shift(same.scores, old.scores) == pytest.approx(0.05)


def test_newcombes_intervals_are_those_of_his_paper() -> None:
    """Table II, method 10: 56/70 against 48/80, and 9/10 against 3/10."""
    assert candidate_verdict.difference(56, 70, 48, 80, 0.025) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )
    assert candidate_verdict.difference(9, 10, 3, 10, 0.025) == pytest.approx(
        (0.1705, 0.8090), abs=5e-5
    )
