"""The scales: ends, middle, order, round trip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iqa.errors import CheckpointMismatch
from iqa.tasks.score_scales import (
    SCORE_DECIMALS,
    ScoreScale,
    calibrate,
    label_of_score,
    quality_of_mos,
    score_of_quality,
)

quality = st.floats(0, 1)

CALIBRATION = {"kind": "affine_logit", "scale": 1.25, "offset": -0.2}
INTERVAL = {
    "coverage": 0.9,
    "bands": [
        {"low": 0.0, "high": 50.0, "half_width": 20.0},
        {"low": 50.0, "high": 100.0, "half_width": 10.123},
    ],
}


@pytest.mark.parametrize(("value", "score"), [(0.0, 0.0), (0.5, 50.0), (1.0, 100.0)])
def test_ends_and_middle_of_the_score(value: float, score: float) -> None:
    """Quality 0, a half and 1 are 0, 50 and 100 points."""
    assert score_of_quality(value) == score


@given(a=quality, b=quality)
def test_better_quality_never_scores_lower(a: float, b: float) -> None:
    """The score is monotone, and off by no more than its rounding."""
    low, high = sorted((a, b))
    assert score_of_quality(low) <= score_of_quality(high)
    assert abs(score_of_quality(a) - 100 * a) <= 0.5 * 10**-SCORE_DECIMALS + 1e-9


def test_score_of_a_float32_is_a_plain_float() -> None:
    """What the network gives is turned into a number that JSON can hold."""
    assert type(score_of_quality(np.float32(0.25))) is float


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, math.nan, math.inf, -math.inf])
def test_quality_outside_its_range_is_the_servers_fault(value: float) -> None:
    """A number that no network of ours can give is an error, not a score."""
    with pytest.raises(ValueError, match=r"^quality: expected a number in \[0, 1\], got "):
        score_of_quality(value)


@pytest.mark.parametrize(
    ("score", "label"),
    [
        (0.0, "poor"),
        (39.9999, "poor"),
        (40.0, "fair"),
        (59.9999, "fair"),
        (60.0, "good"),
        (79.9999, "good"),
        (80.0, "excellent"),
        (100.0, "excellent"),
    ],
)
def test_labels_change_at_40_60_and_80(score: float, label: str) -> None:
    """Each label begins at its floor."""
    assert label_of_score(score) == label


@pytest.mark.parametrize("mos_range", [(0.0, 100.0), (1.0, 5.0), (0.0, 1.0), (-2.0, 2.0)])
def test_ends_of_a_rating_scale_are_0_and_1(mos_range: tuple[float, float]) -> None:
    """Lowest, middle and highest rating of any scale become 0, a half and 1."""
    low, high = mos_range
    got = quality_of_mos(np.array([low, (low + high) / 2, high]), mos_range)
    np.testing.assert_allclose(got, [0.0, 0.5, 1.0])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_mos_to_score_is_the_identity_on_a_0_to_100_scale(mos: list[float]) -> None:
    """A perfect network would give back the rating."""
    values = quality_of_mos(np.array(mos), (0.0, 100.0))
    assert [score_of_quality(v) for v in values] == pytest.approx(mos, abs=1e-4)


@pytest.mark.parametrize("mos", [[0.5, 3.0], [3.0, 5.5]])
def test_rating_outside_the_scale_is_refused_with_the_remedy(mos: list[float]) -> None:
    """Ratings and range that disagree are named, both, with the option to set."""
    with pytest.raises(ValueError, match=r"expected ratings in \[1, 5\], got .*--mos-range"):
        quality_of_mos(np.array(mos), (1.0, 5.0))


@pytest.mark.parametrize("mos_range", [(5.0, 1.0), (1.0, 1.0), (math.nan, 1.0)])
def test_range_that_is_none_is_refused(mos_range: tuple[float, float]) -> None:
    """Low must be under high."""
    with pytest.raises(ValueError, match="mos_range: expected LOW < HIGH"):
        quality_of_mos(np.array([1.0]), mos_range)


def test_rating_that_is_missing_is_refused() -> None:
    """NaN is no rating in any range."""
    with pytest.raises(ValueError, match="mos: expected ratings in"):
        quality_of_mos(np.array([1.0, math.nan]), (0.0, 5.0))


def test_no_ratings_are_no_error() -> None:
    """An empty split has nothing outside the range."""
    assert quality_of_mos(np.empty(0), (0.0, 1.0)).shape == (0,)


def test_a_card_that_says_nothing_leaves_the_quality_as_it_is() -> None:
    """Old checkpoints keep their scores to the last digit, and promise no interval."""
    scale = ScoreScale.of_card({"format": 1})
    for value in (0.0, 0.1234567, 0.5, 1.0):
        assert scale.reply(value) == {
            "score": score_of_quality(value),
            "label": label_of_score(score_of_quality(value)),
        }


def test_a_card_gives_score_label_interval_and_coverage() -> None:
    """Quality 0.7 has the logit 0.8473; 1.25 times that less 0.2 is 0.8591: 70.2 points."""
    scale = ScoreScale.of_card({"calibration": CALIBRATION, "interval": INTERVAL})
    told = scale.reply(0.7)
    assert told["score"] == pytest.approx(70.2481, abs=1e-3)
    assert told == {
        "score": told["score"], "label": "good", "interval": [60.1, 80.4], "coverage": 0.9,
    }  # fmt: skip
    assert all(type(number) is float for number in (told["score"], *told["interval"]))


@given(a=quality, b=quality)
def test_a_calibrated_score_never_falls_where_quality_rises(a: float, b: float) -> None:
    """At 0 and 1 too, where the logit has no end."""
    scale = ScoreScale.of_card({"calibration": CALIBRATION})
    low, high = sorted((a, b))
    assert 0 <= scale.score(low) <= scale.score(high) <= 100


@given(value=quality)
def test_an_interval_holds_its_score(value: float) -> None:
    """Rounded as it is sent, and within the scale."""
    told = ScoreScale.of_card({"calibration": CALIBRATION, "interval": INTERVAL}).reply(value)
    low, high = told["interval"]
    assert 0 <= low <= told["score"] <= high <= 100


def test_one_and_many_are_calibrated_alike() -> None:
    """Served scores are the ones that training measured, to the bit."""
    values = np.linspace(0, 1, 101)
    together = calibrate(values, CALIBRATION)
    assert [calibrate(value, CALIBRATION) for value in values] == list(together)


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, math.nan, math.inf])
def test_calibration_makes_no_score_out_of_no_quality(value: float) -> None:
    """What is no quality is the server's fault, calibrated or not."""
    with pytest.raises(ValueError, match=r"^quality: expected a number in \[0, 1\], got "):
        ScoreScale.of_card({"calibration": CALIBRATION}).score(value)


def _bands(*rows: tuple[float, float, float]) -> dict[str, object]:
    keys = ("low", "high", "half_width")
    return {"coverage": 0.9, "bands": [dict(zip(keys, row, strict=True)) for row in rows]}


@pytest.mark.parametrize(
    "card",
    [
        {"calibration": {**CALIBRATION, "kind": "isotonic"}},
        {"calibration": {**CALIBRATION, "scale": 0.0}},
        {"calibration": {**CALIBRATION, "scale": -1.0}},
        {"calibration": {**CALIBRATION, "offset": math.nan}},
        {"calibration": {**CALIBRATION, "offset": "0"}},
        {"calibration": {"kind": "affine_logit", "scale": 1.0}},
        {"calibration": 3},
        {"interval": {**INTERVAL, "coverage": 90}},
        {"interval": {**INTERVAL, "bands": []}},
        {"interval": _bands((0, 40, 1), (50, 100, 1))},
        {"interval": _bands((0, 50, 1), (50, 90, 1))},
        {"interval": _bands((0, 100, -1))},
        {"interval": _bands((0, 100, math.nan))},
        {"interval": []},
    ],
)
def test_a_card_that_makes_no_sense_is_refused(card: dict[str, object]) -> None:
    """A falling calibration, a gap between bands, a missing number: said at load."""
    with pytest.raises(CheckpointMismatch, match=r"^card: expected a calibration and an interval"):
        ScoreScale.of_card(card)
