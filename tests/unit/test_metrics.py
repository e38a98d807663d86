"""Agreement with ratings: against scipy, and against ranks counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from training.measure.metrics import agreement, error_by_band, intervals, paired_difference

Vector = NDArray[np.float64]


def vectors(n: int = 60, noise: float = 0.1, seed: int = 0) -> tuple[Vector, Vector]:
    """Return predictions and ratings that agree, but for noise."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.1, 0.9, n)
    return np.clip(target + rng.normal(0, noise, n), 0, 1), target


def test_hand_counted_ranks() -> None:
    """Ranks 1 3 2 4 against 1 2 3 4: Spearman 0.8, Kendall 4/6, and the errors of four points."""
    got = agreement(np.array([0.1, 0.3, 0.2, 0.4]), np.array([0.1, 0.2, 0.3, 0.4]))
    expected = {
        "srocc": 0.8, "plcc": 0.8, "krocc": 4 / 6, "mae": 0.05, "rmse": 0.005**0.5,
        "mae_100": 5.0, "rmse_100": 0.5**0.5 * 10, "n": 4.0,
    }  # fmt: skip
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [1, 9])
def test_correlations_are_scipys_with_and_without_ties(decimals: int) -> None:
    """Ties are given mean ranks, as scipy does."""
    quality, target = (np.round(v, decimals) for v in vectors())
    got = agreement(quality, target)
    assert got["srocc"] == pytest.approx(stats.spearmanr(quality, target).statistic)
    assert got["plcc"] == pytest.approx(stats.pearsonr(quality, target).statistic)
    assert got["krocc"] == pytest.approx(stats.kendalltau(quality, target).statistic)


def test_perfect_and_reversed_predictions() -> None:
    """The rating itself agrees fully; one minus it disagrees fully."""
    _, target = vectors()
    best, worst = agreement(target, target), agreement(1 - target, target)
    for name in ("srocc", "plcc", "krocc"):
        assert (best[name], worst[name]) == pytest.approx((1.0, -1.0))
    assert best["mae"] == best["rmse"] == 0.0


@pytest.mark.parametrize("is_target_flat", [True, False])
def test_constant_has_no_correlation_and_no_nan(is_target_flat: bool) -> None:
    """A network that always says the same correlates 0, which MLflow can log."""
    flat, varied = np.full(60, 0.5), vectors()[1]
    got = agreement(varied, flat) if is_target_flat else agreement(flat, varied)
    assert got["srocc"] == got["plcc"] == got["krocc"] == 0.0
    assert all(np.isfinite(v) for v in got.values())


@pytest.mark.parametrize(
    ("quality", "target"),
    [(np.zeros(1), np.zeros(1)), (np.zeros(3), np.zeros(2)), (np.zeros((2, 2)), np.zeros((2, 2)))],
)
def test_shapes_that_cannot_be_compared_are_refused(quality: Vector, target: Vector) -> None:
    """One pair, or two lengths, are no comparison."""
    with pytest.raises(ValueError, match="agreement: expected two equally long vectors"):
        agreement(quality, target)


def test_intervals_hold_the_measured_value_and_narrow_with_pictures() -> None:
    """More pictures, a narrower interval around the same statistic."""
    widths = []
    for n in (50, 800):
        quality, target = vectors(n)
        measured, ranges = agreement(quality, target), intervals(quality, target)
        assert set(ranges) == {f"{m}_ci95" for m in ("srocc", "plcc", "mae_100", "rmse_100")}
        for name, (low, high) in ranges.items():
            assert low < measured[name.removesuffix("_ci95")] < high
        widths.append(ranges["srocc_ci95"][1] - ranges["srocc_ci95"][0])
    assert widths[1] < widths[0] / 2


def test_intervals_are_the_same_for_the_same_seed() -> None:
    """The resampling is seeded."""
    quality, target = vectors(20)
    first = intervals(quality, target)
    assert intervals(quality, target) == first
    assert intervals(quality, target, seed=1) != first


@pytest.mark.parametrize("n", [2, 40])
def test_intervals_are_those_of_the_drawn_pictures(n: int) -> None:
    """The figures in the documents are percentiles of 1000 samples, drawn one after the other."""
    quality, target = vectors(n)
    target = np.round(target, 1)
    baseline = quality[::-1].copy()
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(1000):
        drawn = rng.integers(0, n, n)
        one, other = (agreement(v[drawn], target[drawn]) for v in (quality, baseline))
        samples.append([one["srocc"], one["rmse_100"], one["srocc"] - other["srocc"]])
    expected = np.percentile(samples, [2.5, 97.5], axis=0).T
    found = intervals(quality, target)
    difference = paired_difference(quality, baseline, target)["srocc"][1:]
    got = [found["srocc_ci95"], found["rmse_100_ci95"], difference]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_intervals_of_a_constant_are_zero_and_no_nan() -> None:
    """A flat prediction gives 0 to 0."""
    assert intervals(np.full(20, 0.5), vectors(20)[1])["srocc_ci95"] == [0.0, 0.0]


def test_bands_are_by_rating_and_hold_every_picture_once() -> None:
    """Ratings 0 and 19 are in the first band, 20 in the second, 80 and 100 in the last."""
    target = np.array([0.0, 0.19, 0.2, 0.8, 1.0])
    rows = error_by_band(target + np.array([0.1, 0.3, 0.0, -0.1, -0.3]), target)
    got = [(r["low"], r["high"], r["n"], r["mae_100"], r["bias_100"]) for r in rows]
    assert got == [
        pytest.approx(row) for row in [(0, 20, 2, 20, 20), (20, 40, 1, 0, 0), (80, 100, 2, 20, -20)]
    ]


def test_a_paired_difference_is_that_of_the_metrics_and_tight_for_like_predictions() -> None:
    """Signs as subtracted; two networks that err together differ by less than either varies."""
    quality, target = vectors(400)
    rng = np.random.default_rng(1)
    worse = np.clip(quality + rng.normal(0, 0.02, 400), 0, 1)
    found = paired_difference(quality, worse, target)
    own, other = agreement(quality, target), agreement(worse, target)
    for key, (difference, low, high) in found.items():
        assert difference == pytest.approx(own[key] - other[key])
        assert low < difference < high
    alone_low, alone_high = intervals(quality, target)["srocc_ci95"]
    _, low, high = found["srocc"]
    assert high - low < 0.5 * (alone_high - alone_low)
    same = paired_difference(quality, quality, target)
    assert all(values == (0.0, 0.0, 0.0) for values in same.values())
