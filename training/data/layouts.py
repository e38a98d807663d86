"""
What an adapter of a data set returns, and what adapters share: reading a table, making a split.

`training.data.datasets` holds the table of adapters, `training.data.ratings` all checks of what
they found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

SPLITS: Final = ("train", "val", "test")

TRAIN_PERCENT: Final = 70
VAL_PERCENT: Final = 10
"""Of a split that no author made; the other 20 are for test."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says beyond the folder."""

    labels: Path | None = None
    mos_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """
    What an adapter found.

    Attributes:
        table: Columns image_name, mos, split (train, val or test). Higher mos is better.
        image_dirs: Where the pictures may lie; the folder with most of them is taken.
        mos_range: Lowest and highest possible rating.
        official_counts: Pictures per split as the authors publish them; empty if they do not.
        notes: What a person should know of how it was read.
        name: Under which it is logged, where that is not the layout's.
    """

    table: pd.DataFrame
    image_dirs: list[Path]
    mos_range: tuple[float, float]
    official_counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    name: str | None = None


def read_csv(path: Path, required: list[str]) -> pd.DataFrame:
    """
    Read a CSV file of ratings; names of pictures and sets stay text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A required column is missing, or a rating is a word.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a CSV file of ratings, found none.")
    text_columns = ("image_name", "Image Name", "set", "dist_img", "ref_img")
    table = pd.read_csv(path, dtype={name: str for name in text_columns})
    return check_columns(table, path, required)


def check_columns(table: pd.DataFrame, path: Path, required: list[str]) -> pd.DataFrame:
    """
    Return the table if it has the required columns, and numbers for ratings.

    Raises:
        ValueError: It has not; names the file, the columns it has, the line of the first word.
    """
    missing = [name for name in required if name not in table]
    if missing:
        raise ValueError(
            f"{path}: expected the columns {', '.join(required)}, "
            f"got {', '.join(map(str, table.columns))}."
        )
    for name in ("MOS", "mos", "MOS_zscore", "dmos"):
        if name in table:
            numbers = pd.to_numeric(table[name], errors="coerce")
            words = table[name][numbers.isna() & table[name].notna()]
            if len(words):
                raise ValueError(
                    f"{path}, column {name}: expected numbers, got {words.iloc[0]!r} in line "
                    f"{words.index[0] + 2}, {len(words)} in all. Correct the file."
                )
    return table


def first_file(roots: list[Path], name: str) -> Path | None:
    """Return the first of the folders' files of that name that exists."""
    return next((root / name for root in roots if (root / name).is_file()), None)


def split_of_set(name: object) -> str | None:
    """Return train, val or test for what people write in a column `set`; None for other words."""
    known = {"training": "train", "validation": "val"}
    text = str(name).strip().lower()
    text = known.get(text, text)
    return text if text in SPLITS else None


def split_of_name(
    image_name: str, train_percent: int = TRAIN_PERCENT, val_percent: int = VAL_PERCENT
) -> str:
    """Choose a split from the name alone, the same on every machine."""
    percent = _hash(image_name) % 100
    if percent < train_percent:
        return "train"
    return "val" if percent < train_percent + val_percent else "test"


def split_by_reference(references: Iterable[str]) -> list[str]:
    """
    Split distorted pictures so that all versions of one reference are on the same side.

    A network that has seen a scene in training ranks its distorted versions by memory. The
    references are put in the order of their hash and cut there: with a hash's own 10 %, 25
    references may leave a single one for validation.

    Args:
        references: Name of each picture's reference; letter case does not count.

    Returns:
        train, val or test for each picture. The same references give the same split, in
        whatever order and however many pictures each has.
    """
    of_picture = [name.lower() for name in references]
    in_order = sorted(set(of_picture), key=_hash)
    n = len(in_order)
    first_val = round(n * TRAIN_PERCENT / 100)
    first_test = round(n * (TRAIN_PERCENT + VAL_PERCENT) / 100)
    split_of = {
        name: "train" if rank < first_val else "val" if rank < first_test else "test"
        for rank, name in enumerate(in_order)
    }
    return [split_of[name] for name in of_picture]


def _hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)
