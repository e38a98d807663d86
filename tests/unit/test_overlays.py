"""What is put over a photograph: a line of text or a frame, sharp on what may be blurred."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.images import photograph
from training.data import overlays
from training.heads.samples import camera_damaged, with_overlays

PICTURE = Image.fromarray(photograph(320, 240)).filter(ImageFilter.GaussianBlur(6))


def _steepest(pixels: np.ndarray) -> int:
    return int(np.abs(np.diff(pixels.astype(int), axis=1)).max())


@pytest.mark.parametrize("seed", range(8))
def test_text_is_sharp_and_small(seed: int) -> None:
    """A blurred picture has steep edges then, in less than a tenth of it; itself it stays."""
    before = np.asarray(PICTURE).copy()
    after = np.asarray(overlays.text(PICTURE, np.random.default_rng(seed)))
    changed = (after != before).any(axis=2)
    assert after.shape == before.shape
    assert 0.0005 < changed.mean() < 0.1
    assert _steepest(after) > 2 * _steepest(before)
    assert np.array_equal(np.asarray(PICTURE), before)


@pytest.mark.parametrize("seed", range(8))
def test_a_frame_covers_edges_alone(seed: int) -> None:
    """Two bands or four, of one tone; three quarters of each side stay."""
    before = np.asarray(PICTURE)
    after = np.asarray(overlays.frame(PICTURE, np.random.default_rng(seed)))
    rows, columns = (int(0.12 * side) for side in before.shape[:2])
    inner = np.s_[rows:-rows, columns:-columns]
    assert np.array_equal(after[inner], before[inner])
    covered = after[(after != before).any(axis=2)]
    assert len(covered) > 0 and len(np.unique(covered)) == 1


def test_some_pictures_have_something_over_them() -> None:
    """About four of ten; the others are as they were."""
    rng = np.random.default_rng(0)
    changed = [overlays.sometimes(PICTURE, rng) is not PICTURE for _ in range(200)]
    assert 0.3 < np.mean(changed) < 0.5


def test_the_damage_below_stays_the_same() -> None:
    """With overlays, the same damage of the same strengths: only what lies over it is added."""
    small = Image.fromarray(photograph(96, 72))
    plain = list(camera_damaged(small, np.random.default_rng(3)))
    over = list(with_overlays(camera_damaged, overlays.text)(small, np.random.default_rng(3)))
    assert [one[0] for one in plain] == [one[0] for one in over]
    for (_, strengths, before), (_, same, after) in zip(plain, over, strict=True):
        assert np.array_equal(strengths, same, equal_nan=True)
        changed = (np.asarray(after) != np.asarray(before)).any(axis=2)
        assert 0 < changed.mean() < 0.5
