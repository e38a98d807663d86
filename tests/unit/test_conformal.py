"""Conformal intervals: the promised coverage, in every band, whatever the errors look like."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iqa.tasks.score_scales import interval
from numpy.typing import NDArray

from training.measure.conformal import fit, measure
from training.measure.score_bands import equal_count_edges

Vector = NDArray[np.float64]
WHOLE = [0.0, 100.0]


def pictures(n: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Return scores, and ratings that lie further off in the middle of the scale, and lower."""
    predicted = rng.uniform(5, 95, n)
    spread = 2 + 12 * np.sin(np.pi * predicted / 100)
    rated = np.clip(predicted - 3 + spread * rng.standard_t(4, n), 0, 100)
    return predicted, rated


@settings(max_examples=60)
@given(
    error=st.lists(st.floats(0, 50, width=32), min_size=20, max_size=40),
    coverage=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_whichever_picture_is_new_enough_intervals_hold(
    error: list[float], coverage: float
) -> None:
    """
    Of n + 1 pictures, each in turn left out, at least ceil((n + 1) * coverage) are covered.

    That is the theorem itself, without chance in it: for exchangeable pictures every one of
    them is the new one equally often. It holds for any errors, ties included.
    """
    rated = np.array(error, np.float64)
    predicted = np.zeros(len(error))
    held = 0
    for left_out in range(len(error)):
        others = np.arange(len(error)) != left_out
        table = fit(predicted[others], rated[others], coverage, WHOLE)
        low, high = interval(0.0, table)
        held += low <= rated[left_out] <= high
    assert held >= math.ceil(len(error) * coverage - 1e-9)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_coverage_is_kept_on_average_and_in_every_band(coverage: float) -> None:
    """Over 200 draws: at least nominal, less than 1 / (n + 1) above it, but for chance."""
    rng = np.random.default_rng(0)
    edges = [0.0, 30.0, 70.0, 100.0]
    overall, by_band = [], []
    for _ in range(200):
        table = fit(*pictures(400, rng), coverage, edges, min_pictures=50)
        got = measure(*pictures(400, rng), table)
        overall.append(got["coverage"])
        by_band.append([band["coverage"] for band in got["bands"]])
    assert np.mean(overall) == pytest.approx(coverage, abs=0.01)
    np.testing.assert_allclose(np.mean(by_band, axis=0), coverage, atol=0.015)


def test_one_draw_of_the_usual_size_is_within_the_bounds() -> None:
    """1,000 validation and 2,000 test pictures, four bands: 2 points overall, 5 in each band."""
    rng = np.random.default_rng(1)
    predicted, rated = pictures(1000, rng)
    got = measure(*pictures(2000, rng), fit(predicted, rated, 0.9, equal_count_edges(predicted, 4)))
    assert got["coverage"] == pytest.approx(0.9, abs=0.02)
    assert len(got["bands"]) == 4
    assert all(abs(band["coverage"] - 0.9) < 0.05 for band in got["bands"])


def test_bands_with_larger_errors_get_wider_intervals() -> None:
    """One width for all covers the ends too often and the middle too rarely; bands do not."""
    rng = np.random.default_rng(2)
    table = fit(*pictures(3000, rng), 0.9, [0.0, 20.0, 80.0, 100.0])
    first, middle, last = (band["half_width"] for band in table["bands"])
    assert middle > 1.3 * max(first, last)
    fresh = pictures(3000, rng)
    of_one = measure(*fresh, fit(*pictures(3000, rng), 0.9, WHOLE))
    assert of_one["coverage"] == pytest.approx(0.9, abs=0.02)
    is_end = (fresh[0] < 20) | (fresh[0] >= 80)
    one_width = fit(*pictures(3000, rng), 0.9, WHOLE)
    ends = measure(fresh[0][is_end], fresh[1][is_end], one_width)
    assert ends["coverage"] > 0.94


def test_the_width_is_the_error_of_the_rank_counted_by_hand() -> None:
    """Errors 1 to 19 and a coverage of 0.9: rank ceil(20 * 0.9) = 18."""
    predicted = np.full(19, 50.0)
    table = fit(predicted, predicted + np.arange(1, 20), 0.9, WHOLE)
    assert table["bands"] == [{"low": 0.0, "high": 100.0, "n": 19, "half_width": 18.0}]
    assert interval(50.0, table) == (32.0, 68.0)
    assert (table["coverage"], table["n"]) == (0.9, 19)


@given(score=st.floats(0, 100), half_width=st.floats(0, 100))
def test_intervals_stay_on_the_scale_and_hold_their_score(score: float, half_width: float) -> None:
    """An interval never leaves [0, 100], at the ends of the scale too."""
    table = {"bands": [{"low": 0.0, "high": 100.0, "n": 100, "half_width": half_width}]}
    low, high = interval(score, table)
    assert 0 <= low <= score <= high <= 100


def test_each_band_has_its_own_width_from_its_lower_edge_on() -> None:
    """A score on an edge belongs to the band above; 100 to the last."""
    table = {
        "bands": [
            {"low": 0.0, "high": 40.0, "n": 100, "half_width": 1.0},
            {"low": 40.0, "high": 100.0, "n": 100, "half_width": 2.0},
        ]
    }
    assert [interval(score, table)[0] for score in (39.0, 40.0, 100.0)] == [38.0, 38.0, 98.0]


def test_a_card_can_carry_the_table() -> None:
    """Through JSON and back, it gives the same intervals."""
    predicted, rated = pictures(500, np.random.default_rng(3))
    table = fit(predicted, rated, 0.9, equal_count_edges(predicted, 4))
    back = json.loads(json.dumps(table))
    assert [interval(float(s), back) for s in predicted] == [
        interval(float(s), table) for s in predicted
    ]


@pytest.mark.parametrize(
    ("counts", "edges"),
    [
        ((30, 100, 200, 150), [0, 50, 75, 100]),  # the lowest has one neighbour
        ((150, 200, 100, 30), [0, 25, 50, 100]),  # so has the highest
        ((120, 30, 200, 150), [0, 50, 75, 100]),  # the smaller neighbour is below
        ((200, 30, 120, 150), [0, 25, 75, 100]),  # ... or above
        ((30, 30, 30, 150), [0, 75, 100]),  # and on, until each is large enough
        ((30, 30, 30, 30), [0, 50, 100]),
        ((20, 10, 10, 10), [0, 100]),
        ((100, 0, 100, 100), [0, 50, 75, 100]),
    ],
)
def test_a_band_with_too_few_pictures_joins_the_smaller_neighbour(
    counts: tuple[int, ...], edges: list[float]
) -> None:
    """Fifty are wanted in each; no picture is lost on the way."""
    middles = (12.5, 37.5, 62.5, 87.5)
    predicted = np.concatenate([np.full(n, m) for n, m in zip(counts, middles, strict=True)])
    table = fit(predicted, predicted, 0.9, [0, 25, 50, 75, 100], min_pictures=50)
    assert [0.0, *(band["high"] for band in table["bands"])] == edges
    assert sum(band["n"] for band in table["bands"]) == sum(counts)


def test_a_band_always_has_enough_pictures_for_its_rank() -> None:
    """A coverage of 0.99 needs 99 pictures in a band, also where fewer were allowed."""
    predicted, rated = pictures(300, np.random.default_rng(4))
    table = fit(predicted, rated, 0.99, equal_count_edges(predicted, 4), min_pictures=1)
    assert all(band["n"] >= 99 for band in table["bands"])


@pytest.mark.parametrize(
    ("n", "coverage", "message"),
    [
        (8, 0.9, r"at least 9 pictures for a coverage of 0\.9, got 8"),
        (0, 0.9, "at least 9 pictures"),
        (50, 1.0, r"coverage: expected a share in \(0, 1\), got 1\.0"),
        (50, 90, r"coverage: expected a share in \(0, 1\), got 90"),
    ],
)
def test_a_coverage_that_cannot_be_promised_is_refused(
    n: int, coverage: float, message: str
) -> None:
    """With 8 pictures no interval but the whole scale covers 90 %."""
    with pytest.raises(ValueError, match=message):
        fit(np.full(n, 50.0), np.full(n, 40.0), coverage, WHOLE)


@pytest.mark.parametrize(
    ("predicted", "rated", "message"),
    [
        (np.full(20, 50.0), np.full(21, 50.0), "two equally long vectors"),
        (np.full(20, 50.0), np.full(20, 101.0), r"rated: expected ratings in \[0, 100\]"),
        (np.full(20, 50.0), np.full(20, np.nan), r"rated: expected ratings in \[0, 100\]"),
        (np.full(20, np.nan), np.full(20, 50.0), r"score: expected numbers in \[0, 100\]"),
    ],
)
def test_vectors_off_the_scale_are_refused(predicted: Vector, rated: Vector, message: str) -> None:
    """NaN and ratings on another scale are no interval."""
    with pytest.raises(ValueError, match=message):
        fit(predicted, rated, 0.9, WHOLE)


@pytest.mark.parametrize("score", [-1.0, 100.5, math.nan])
def test_a_score_off_the_scale_has_no_interval(score: float) -> None:
    """The server's fault, said as such."""
    with pytest.raises(ValueError, match=r"score: expected a number in \[0, 100\]"):
        interval(score, fit(np.full(20, 50.0), np.full(20, 50.0), 0.9, WHOLE))
