"""Bands of the predicted score: cut where wanted, every picture in one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.measure.score_bands import band_of, equal_count_edges, error_by_score_band


def test_a_band_holds_its_lower_edge_and_the_last_one_100() -> None:
    """Edges belong to the band above, but for the top of the scale."""
    score = np.array([0.0, 39.9, 40.0, 80.0, 100.0])
    assert band_of(score, [0, 40, 80, 100]).tolist() == [0, 0, 1, 2, 2]


@given(
    st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=60),
    st.integers(1, 6),
)
def test_equal_count_edges_always_make_bands(scores: list[float], bands: int) -> None:
    """Whatever the scores, ties and ends included, the edges rise from 0 to 100."""
    edges = equal_count_edges(np.array(scores), bands)
    assert len(edges) <= bands + 1
    assert band_of(np.array(scores), edges).max() <= len(edges) - 2


def test_equal_count_edges_share_the_pictures_out() -> None:
    """A thousand different scores in four bands are 250 each."""
    score = np.random.default_rng(0).uniform(20, 90, 1000)
    assert np.bincount(band_of(score, equal_count_edges(score, 4))).tolist() == [250] * 4


def test_errors_of_a_band_are_those_counted_by_hand() -> None:
    """Two pictures at 50 and 60, rated 40 and 66: bias +2, mean size 8."""
    rows = error_by_score_band(
        np.array([50.0, 60.0, 90.0]), np.array([40.0, 66.0, 90.0]), [0, 20, 80, 100]
    )
    assert rows[0] == {
        "low": 20, "high": 80, "n": 2, "score": 55, "rated": 53,
        "bias_100": 2, "mae_100": 8, "rmse_100": pytest.approx(68**0.5),
    }  # fmt: skip
    assert [row["n"] for row in rows] == [2, 1]


@pytest.mark.parametrize("edges", [[0.0], [0, 50], [10, 100], [0, 60, 50, 100], [0, 50, 50, 100]])
def test_edges_that_make_no_bands_are_refused(edges: list[float]) -> None:
    """Edges rise, and span the scale."""
    with pytest.raises(ValueError, match="edges: expected numbers rising from 0 to 100"):
        band_of(np.array([50.0]), edges)


@pytest.mark.parametrize("score", [-0.1, 100.1, np.nan])
def test_scores_off_the_scale_are_refused(score: float) -> None:
    """A quality in place of a score would pass; a number off the scale does not."""
    with pytest.raises(ValueError, match=r"score: expected numbers in \[0, 100\]"):
        band_of(np.array([50.0, score]), [0, 100])


@pytest.mark.parametrize(("scores", "bands"), [([], 4), ([50.0], 0)])
def test_no_bands_or_no_scores_are_refused(scores: list[float], bands: int) -> None:
    """There is nothing to cut."""
    with pytest.raises(ValueError, match="bands: expected at least 1 band and 1 score"):
        equal_count_edges(np.array(scores), bands)
