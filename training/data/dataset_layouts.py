"""
What an adapter of a data set returns, and what adapters share: finding a file, making a split.

`training.data.ratings_table` reads their files, `training.data.datasets` holds the table of
adapters, `training.data.ratings` the checks of what they found together.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import pandas as pd

SPLITS: Final = ("train", "val", "test")
ALL: Final = "all"
"""Name of the splits taken together: whoever only measures needs no split."""

TRAIN_PERCENT: Final = 70
VAL_PERCENT: Final = 10
"""Shares of a split that no author made; the other 20 are for test."""


class ImageFile(Protocol):
    """What an image's bytes are read from: a `Path`, or a part of a larger file."""

    def read_bytes(self) -> bytes:
        """Return the content of an image file."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command line beyond the folder."""

    labels: Path | None = None
    mos_range: tuple[float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """
    What an adapter found.

    Attributes:
        table: Columns image_name, split (train, val or test), and what the task's targets are made
            of: for quality mos, of which higher is better; for classes label, a name.
        image_dirs: Where the pictures may lie; the folder with most of them is taken.
        mos_range: Lowest and highest possible rating; None without ratings.
        official_counts: Pictures per split as the authors publish them; empty if they do not.
        notes: What a person should know of how it was read.
        name: Under which it is logged, where that is not the layout's.
        files: Of each image name, where they are not files of `image_dirs`.
        class_names: In their order, where the authors give one.
    """

    table: pd.DataFrame
    image_dirs: list[Path]
    mos_range: tuple[float, float] | None = None
    official_counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    name: str | None = None
    files: Mapping[str, ImageFile] | None = None
    class_names: tuple[str, ...] = ()


def headers_of_columns(text: str) -> dict[str, str]:
    """
    Read `name=HEADER,mos=HEADER,set=HEADER`, in any order, none of them needed; for argparse.

    Returns:
        The header in the file of image_name, mos or label, and set, of those that are named.
    """
    columns = {"name": "image_name", "mos": "mos", "label": "label", "set": "set"}
    headers: dict[str, str] = {}
    for part in text.split(","):
        key, _, header = (word.strip() for word in part.partition("="))
        column = columns.get(key.removeprefix("image_"))
        if column is None or not header or column in headers:
            raise argparse.ArgumentTypeError(
                "expected name=HEADER,mos=HEADER,set=HEADER, each at most once, "
                f"got {text!r}. Headers with a comma must be renamed in the file."
            )
        headers[column] = header
    return headers


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
