"""Checks before training: whatever is wrong with the data is said with counts and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training.data.config import DataConfig
from training.data.ratings import Ratings, Split, load

SETS = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Give a folder of twelve different pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(len(SETS)):
        Image.new("RGB", (32, 32), (index, 0, 0)).save(folder / f"{index}.png")
    return folder


def table() -> pd.DataFrame:
    """Return ratings of them, 1 to 5."""
    names = [f"{index}.png" for index in range(len(SETS))]
    return pd.DataFrame({"image_name": names, "mos": np.linspace(1, 5, len(SETS)), "set": SETS})


def read(
    folder: Path,
    ratings: pd.DataFrame,
    mos_range: tuple[float, float] = (1.0, 5.0),
    limit: int | None = None,
) -> Ratings:
    """Write the ratings beside the pictures, and load both."""
    labels = folder.parent / "own.csv"
    ratings.to_csv(labels, index=False)
    return load(
        DataConfig(dataset="csv", data_dir=folder, labels=labels, mos_range=mos_range, limit=limit)
    )


def test_good_data_is_read_in_order(pictures: Path) -> None:
    """Names, files and qualities belong together, in the order of the file."""
    split = read(pictures, table()).splits["train"]
    assert split.names == [path.name for path in split.paths] == [f"{i}.png" for i in range(6)]
    np.testing.assert_allclose(split.target, np.arange(6) / 11)


def _with(column: str, row: int, value: object) -> Change:
    def change(ratings: pd.DataFrame) -> pd.DataFrame:
        ratings[column] = ratings[column].astype(object)
        ratings.loc[row, column] = value
        return ratings

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with("image_name", 1, "0.png"), r"line 3, column image_name: .* got 0\.png as in line 2"),
        (_with("image_name", 1, None), r"line 3, column image_name: .* got an empty cell; 1 of 12"),
        (_with("mos", 2, None), r"line 4, column mos: expected a number, got an empty cell"),
        (_with("mos", 2, np.inf), r"line 4, column mos: expected a number, got 'inf'"),
        (_with("mos", 2, 5.5), r"\[1, 5\], got 1 to 5\.5, 1 of 12 outside \(2\.png\).*--mos-r"),
        (_with("set", 3, "holdout"), r"line 5, column set: .*, validation or test, got 'holdout'"),
        (_with("set", 3, None), r"line 5, column set: .*, validation or test, got an empty cell"),
        (lambda t: t[t["set"] != "test"], r"at least 2 pictures in each .*Add rows to test"),
        (lambda t: t.iloc[:-2], r"at least 2 pictures in each .*Add rows to test"),
        (lambda t: t.iloc[:1], r"at least 2 rated pictures, got 1\. Rate more"),
        (lambda t: t.iloc[:0], r"at least 2 rated pictures, got 0\."),
    ],
    ids=[
        "duplicate", "no name", "unrated", "infinite", "off the scale", "unknown set", "no set",
        "empty split", "split of one", "one row", "no rows",
    ],
)  # fmt: skip
def test_wrong_ratings_are_refused(pictures: Path, change: Change, message: str) -> None:
    """Each fault of the ratings file has its own message with the first place or names."""
    with pytest.raises(ValueError, match=message):
        read(pictures, change(table()))


def test_scale_that_is_another_one_is_refused(pictures: Path) -> None:
    """Ratings of 1-5 read as 0-100 would train a network that calls everything poor."""
    with pytest.raises(
        ValueError, match=r"ratings that use \[0, 100\], got 1 to 5\. .*--mos-range"
    ):
        read(pictures, table(), (0.0, 100.0))


def test_an_empty_scale_is_refused(pictures: Path) -> None:
    """A scale from 5 to 1 is no scale."""
    with pytest.raises(ValueError, match="mos_range: expected LOW < HIGH, got 5"):
        read(pictures, table(), (5.0, 1.0))


def test_headers_of_ones_own_are_for_plain_csv_only(pictures: Path) -> None:
    """The columns of published sets are known; an option without effect is refused."""
    with pytest.raises(ValueError, match="--columns: expected --dataset csv, got koniq10k"):
        load(DataConfig(data_dir=pictures, columns={"mos": "score"}))


def test_missing_pictures_are_counted_and_named(pictures: Path) -> None:
    """All missing files are counted; five are named."""
    for index in range(7):
        (pictures / f"{index}.png").unlink()
    message = r"expected 12 files, got 5; missing 7 \(0\.png, .*4\.png, \.\.\.\)\. Looked in"
    with pytest.raises(FileNotFoundError, match=message):
        read(pictures, table())


def test_missing_folder_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    """Somebody without data is told of the synthetic set."""
    with pytest.raises(FileNotFoundError, match=r"--data-dir: expected a folder, .*demo_data"):
        load(DataConfig(data_dir=tmp_path / "nowhere"))


def test_pictures_without_a_rating_are_ignored(pictures: Path) -> None:
    """The archive of KonIQ-10k holds 300 pictures more than its labels."""
    Image.new("RGB", (32, 32)).save(pictures / "extra.png")
    assert sum(read(pictures, table()).counts().values()) == 12


def test_limit_takes_some_of_each_split_always_the_same(pictures: Path) -> None:
    """A quick try is repeatable."""
    first, second = (read(pictures, table(), limit=2) for _ in range(2))
    assert first.counts() == {"train": 2, "val": 2, "test": 2}
    assert first.splits["train"].names == second.splits["train"].names


def test_digest_does_not_depend_on_the_order(pictures: Path) -> None:
    """The same pictures with the same ratings have one digest, however they are listed."""
    forward = read(pictures, table()).splits["train"]
    backward = read(pictures, table().iloc[::-1]).splits["train"]
    assert forward.names != backward.names
    assert forward.digest() == backward.digest()


def test_digest_does_not_depend_on_the_folder(pictures: Path) -> None:
    """Another machine keeps its data elsewhere."""
    before = read(pictures, table()).splits["train"].digest()
    moved = pictures.rename(pictures.parent / "elsewhere")
    assert read(moved, table()).splits["train"].digest() == before


@pytest.mark.parametrize("what", ["rating", "byte", "name", "picture"])
def test_digest_changes_with_everything_that_matters(pictures: Path, what: str) -> None:
    """A rating, a byte of a picture, a name or a picture less gives another digest."""
    split = read(pictures, table()).splits["train"]
    before = split.digest()
    names, paths, quality = list(split.names), list(split.paths), split.target.copy()
    if what == "rating":
        quality[0] += 1e-6
    elif what == "byte":
        paths[0].write_bytes(paths[0].read_bytes() + b"\0")
    elif what == "name":
        names[0] = "other.png"
    else:
        names, paths, quality = names[1:], paths[1:], quality[1:]
    assert Split(names=names, paths=paths, target=quality).digest() != before
