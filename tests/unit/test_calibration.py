"""Calibration: what was bent is straightened, no rank is lost, and nothing is fitted on nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from training.measure.calibration import (
    FITS,
    FOLDS,
    apply,
    comparison,
    cross_fitted,
    cross_validated,
    reliability,
)

Vector = NDArray[np.float64]


def bent(n: int, seed: int = 0, noise: float = 0.05) -> tuple[Vector, Vector]:
    """Return ratings, and predictions whose logit is half of what it should be, and shifted."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.05, 0.95, n)
    logit = 0.5 * np.log(target / (1 - target)) + 0.4
    return 1 / (1 + np.exp(-logit + rng.normal(0, noise, n))), target


def test_affine_logit_finds_the_parameters_that_bent_the_ratings() -> None:
    """Half the logit plus 0.4 is undone by twice the logit minus 0.8."""
    fitted = FITS["affine_logit"](*bent(2000, noise=0.0))
    assert (fitted["scale"], fitted["offset"]) == pytest.approx((2.0, -0.8), abs=1e-6)
    assert fitted["n"] == 2000


def test_isotonic_is_sklearns() -> None:
    """Between the points and beyond their ends, sklearn's own prediction is met."""
    quality, target = bent(200)
    fresh = np.linspace(0, 1, 301)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(quality, target)
    got = apply(fresh, FITS["isotonic"](quality, target))
    np.testing.assert_allclose(got, expected.predict(fresh), atol=1e-12)


@pytest.mark.parametrize("kind", FITS)
def test_calibration_lowers_the_error_on_other_pictures(kind: str) -> None:
    """Fitted on one half, it brings score and rating together on the other."""
    calibration = FITS[kind](*bent(1000, seed=1))
    quality, target = bent(1000, seed=2)
    got = comparison(quality, apply(quality, calibration), target)
    assert got["calibrated"]["rmse_100"] < 0.6 * got["raw"]["rmse_100"]
    assert got["calibrated"]["calibration_error_100"] < 2 < got["raw"]["calibration_error_100"]
    assert abs(got["calibrated"]["srocc"] - got["raw"]["srocc"]) < 0.002


def test_affine_logit_changes_no_rank() -> None:
    """It is strictly rising: Spearman's coefficient is the same to the last digit."""
    quality, target = bent(500)
    calibrated = apply(quality, FITS["affine_logit"](quality, target))
    assert stats.spearmanr(calibrated, quality).statistic == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("kind", FITS)
@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_better_picture_never_gets_a_lower_score(kind: str, low: float, high: float) -> None:
    """Calibrated quality stays in [0, 1] and never falls, at 0 and 1 too."""
    low, high = sorted((low, high))
    calibration = FITS[kind](*bent(60))
    worse, better = apply(np.array([low, high]), calibration)
    assert 0 <= worse <= better <= 1


@pytest.mark.parametrize("kind", FITS)
def test_a_card_can_carry_it(kind: str) -> None:
    """Through JSON and back, it gives the same quality to the bit."""
    quality, target = bent(100)
    calibration = FITS[kind](quality, target)
    back = json.loads(json.dumps(calibration))
    np.testing.assert_array_equal(apply(quality, back), apply(quality, calibration))


@pytest.mark.parametrize("kind", FITS)
def test_no_picture_is_calibrated_by_a_fit_that_has_seen_it(kind: str) -> None:
    """Whatever its rating is, a picture's own calibrated quality stays; others' change."""
    quality, target = bent(100)
    before = cross_fitted(quality, target, kind)
    for index in (0, 57, 99):
        other = target.copy()
        other[index] = 1 - other[index]
        after = cross_fitted(quality, other, kind)
        assert after[index] == before[index]
        assert 0 < (after != before).sum() <= len(quality) - len(quality) // FOLDS


def test_cross_validation_prefers_what_straightens() -> None:
    """Ratings bent in the logit: the affine fit is best, and raw is worst."""
    error = cross_validated(*bent(600))
    assert error["affine_logit"] < error["isotonic"] < error["raw"]
    assert cross_validated(*bent(600)) == error


def test_cross_validation_does_not_praise_a_fit_on_few_pictures() -> None:
    """Ratings that are right already: steps through the noise cost, and that is seen."""
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.1, 0.9, 100)
    target = np.clip(quality + rng.normal(0, 0.1, 100), 0, 1)
    error = cross_validated(quality, target)
    assert error["isotonic"] > error["raw"]


def test_reliability_of_a_right_score_has_no_bias() -> None:
    """Ratings scattered around the score: ten bins of a tenth each, each right on average."""
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.2, 0.8, 5000)
    rows = reliability(quality, np.clip(quality + rng.normal(0, 0.05, 5000), 0, 1))
    assert [row["n"] for row in rows] == [500] * 10
    assert all(abs(row["bias_100"]) < 1 for row in rows)


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize(
    ("quality", "target", "message"),
    [
        (np.linspace(0, 1, 19), np.linspace(0, 1, 19), "at least 20, got"),
        (np.linspace(0, 1, 30), np.linspace(0, 1, 31), "equally long vectors"),
        (np.linspace(0, 100, 30), np.linspace(0, 1, 30), r"quality: expected .* \[0, 1\], got 0"),
        (np.linspace(0, 1, 30), np.full(30, np.nan), r"target: expected numbers in \[0, 1\]"),
        (np.full(30, 0.5), np.linspace(0, 1, 30), "qualities that differ, got 0.5 for all"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    kind: str, quality: Vector, target: Vector, message: str
) -> None:
    """Few pictures, other scales and constant predictions are named."""
    with pytest.raises(ValueError, match=message):
        FITS[kind](quality, target)


def test_a_model_that_ranks_backwards_is_not_calibrated() -> None:
    """A falling fit would turn bad pictures into good ones without a word."""
    quality, target = bent(200)
    with pytest.raises(ValueError, match="expected ratings that rise with quality"):
        FITS["affine_logit"](quality, 1 - target)


def test_an_unknown_kind_is_refused() -> None:
    """A card of another time says what is known here."""
    with pytest.raises(ValueError, match=r"kind affine_logit or isotonic, got 'spline'"):
        apply(np.array([0.5]), {"kind": "spline"})
