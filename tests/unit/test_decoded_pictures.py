"""`training.data.cache`: the same pixels, decoded once; never out of date."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from tests.images import photograph
from training.data import cache, images
from training.data.cache import decoded_once, write_arrays
from training.data.config import DataConfig
from training.data.images import TrainingCrops, read_pixels
from training.data.ratings import Split, load


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Give one JPEG, and a cache for it."""
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(320, 240, seed=3)).save(path, quality=90)
    cache = tmp_path / "cache"
    cache.mkdir()
    return Split(names=["a.jpg"], paths=[path], target=np.array([0.5]), cache=cache)


def kept(split: Split) -> list[Path]:
    """Return the files of the split's cache."""
    assert split.cache is not None
    return [path for path in split.cache.rglob("*") if path.is_file()]


def no_decoding(body: bytes) -> np.ndarray:
    """Stand for the decoder where it must not be asked."""
    raise AssertionError("decoded again")


def test_pixels_are_the_same_and_decoded_once(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cache, with an empty one and with a full one: equal pixels, equal crops."""
    without = dataclasses.replace(split, cache=None)
    expected = read_pixels(without, 0)
    crop = TrainingCrops(without, 64, seed=0)[0][0]
    first = read_pixels(split, 0)
    monkeypatch.setattr(images, "decode", no_decoding)
    second = read_pixels(split, 0)
    for pixels in (first, second):
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected)
    assert (TrainingCrops(split, 64, seed=0)[0][0] == crop).all()
    assert [path.suffix for path in kept(split)] == [".npy"]


def test_other_bytes_under_the_same_name_are_decoded_anew(split: Split) -> None:
    """A picture that was replaced is not served from what it was."""
    before = read_pixels(split, 0)
    Image.fromarray(photograph(320, 240, seed=4)).save(split.paths[0], quality=90)
    after = read_pixels(split, 0)
    assert (before != after).any()
    np.testing.assert_array_equal(after, read_pixels(dataclasses.replace(split, cache=None), 0))


def test_other_code_decodes_anew(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older preprocessing made is never read by a newer one."""
    read_pixels(split, 0)
    monkeypatch.setattr(cache, "code_identity", lambda: b"another")
    read_pixels(split, 0)
    assert len(kept(split)) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_damaged_file_is_made_anew(split: Split, damage: bytes | None) -> None:
    """An empty file, a header alone, or half of one: decoded again, and whole again."""
    expected = read_pixels(split, 0)
    [path] = kept(split)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(read_pixels(split, 0), expected)
    assert path.read_bytes() == whole


def test_picture_that_cannot_be_decoded_leaves_nothing(split: Split) -> None:
    """The error is the decoder's, named as without a cache."""
    split.paths[0].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.jpg: body: expected an image file"):
        read_pixels(split, 0)
    assert kept(split) == []


def test_a_folder_that_cannot_be_written_costs_time_and_not_the_run(tmp_path: Path) -> None:
    """What fails is keeping, said once; the pixels come all the same."""
    cache = tmp_path / "file"
    cache.write_text("in the way")
    pixels = np.zeros((2, 2, 3), np.uint8)
    with pytest.warns(UserWarning, match="--cache: decoded pictures are no longer kept"):
        assert decoded_once(cache, b"x", lambda _: pixels) is pixels


def test_a_file_for_a_folder_is_refused_first(tmp_path: Path) -> None:
    """Said before anything is read."""
    cache = tmp_path / "file"
    cache.write_text("in the way")
    config = DataConfig(dataset="csv", data_dir=tmp_path, cache=cache)
    with pytest.raises(ValueError, match="--cache: expected a folder for decoded pictures"):
        load(config)


def test_arrays_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed while it writes leaves what was there: it is read again, not refused."""
    path = tmp_path / "teacher.npz"
    write_arrays(path, scores=np.arange(3))

    def cut(file: IO[bytes], **_: object) -> None:
        file.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(KeyboardInterrupt):
        write_arrays(path, scores=np.arange(4))
    assert list(tmp_path.iterdir()) == [path]
    assert np.load(path)["scores"].tolist() == [0, 1, 2]
