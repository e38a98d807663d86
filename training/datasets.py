"""
The data sets that training can read: one small adapter each, in one table.

An adapter finds the pictures and the ratings of one layout on disk. To add a data set, write a
function `(data_dir, options) -> Layout` and name it in `DATASETS`; every check is elsewhere
(`training.ratings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

SPLITS: Final = ("train", "val", "test")


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
        table: Columns image_name, mos, split (train, val or test).
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


def koniq10k(data_dir: Path, options: Options) -> Layout:
    """
    Read KonIQ-10k as its authors, the Kaggle mirror and common copies lay it out.

    The ratings are 0-100: column MOS of the sets file, MOS_zscore of the scores file (whose own
    MOS is 1-5). The split is the sets file's.
    """
    roots = [data_dir / "data", data_dir, data_dir / "metadata"]
    sets = _first(roots, "koniq10k_distributions_sets.csv")
    scores = _first(roots, "koniq10k_scores_and_distributions.csv")
    path = options.labels or sets or scores
    if path is None:
        raise FileNotFoundError(
            f"{data_dir}: expected data/koniq10k_distributions_sets.csv or "
            "data/koniq10k_scores_and_distributions.csv, got neither. "
            "Unpack KonIQ-10k there, or name the file: --labels FILE."
        )
    table = _read_csv(path, required=["image_name", "MOS"])
    column = "MOS_zscore" if "MOS_zscore" in table else "MOS"
    notes = [f"ratings from column {column} of {path.name}"]
    mos = table[column].astype(float)
    if column == "MOS" and mos.max() <= 5:
        mos = (mos - 1) * 25
        notes.append(
            "MOS of 1-5 stretched to 0-100; it is not the published 0-100 MOS, "
            "which is normalised per rater"
        )
    table = table.assign(mos=mos)
    if "set" in table:
        table = table.assign(split=table["set"].map(_split_of_set))
    else:
        table = table.assign(split=[_split_of_name(n, 70, 10) for n in table["image_name"]])
        notes.append("no column set: split by a hash of the name, 70/10/20, not the official one")
    return Layout(
        table=table[["image_name", "mos", "split"]],
        image_dirs=[
            root / sub
            for root in roots[:2]
            for sub in ("512x384", "images", "koniq10k_512x384/512x384", "koniq10k_512x384",
                        "", "1024x768")
        ],
        mos_range=(0.0, 100.0),
        official_counts={"train": 7058, "val": 1000, "test": 2015},
        notes=tuple(notes),
        # training.demo_data's pictures share the layout and must never pass for KonIQ-10k.
        name="synthetic" if table["image_name"].str.startswith("synthetic-").all() else None,
    )  # fmt: skip


def biq2021(data_dir: Path, options: Options) -> Layout:
    """
    Read BIQ2021: two CSV files with its official split, pictures in `Images/`.

    It has no validation set: a tenth of the training split, chosen by a hash of the name, is
    held out.
    """
    parts = []
    for part in ("Train", "Test"):
        path = data_dir / f"{part} (Images and MOS).csv"
        table = _read_csv(path, required=["Image Name", "MOS"])
        table = table[["Image Name", "MOS"]].rename(columns={"Image Name": "image_name"})
        is_test = part == "Test"
        parts.append(
            table.assign(
                mos=table["MOS"].astype(float),
                split=[
                    "test" if is_test else _split_of_name(name, 90, 10)
                    for name in table["image_name"]
                ],
            )
        )
    return Layout(
        table=pd.concat(parts, ignore_index=True)[["image_name", "mos", "split"]],
        image_dirs=[data_dir / "Images", data_dir],
        mos_range=(0.0, 1.0),
        # The authors publish 10,000 / 2,000; 995 of the 10,000 are the held-out tenth.
        official_counts={"train": 9005, "val": 995, "test": 2000},
        notes=("validation: a tenth of the official training split, by a hash of the name",),
    )


def plain_csv(data_dir: Path, options: Options) -> Layout:
    """Read `--labels FILE` with the columns image_name, mos, set; `--mos-range` is required."""
    if options.labels is None or options.mos_range is None:
        raise ValueError(
            "--dataset csv: expected --labels FILE and --mos-range LOW HIGH, got "
            f"labels {options.labels}, mos-range {options.mos_range}."
        )
    table = _read_csv(options.labels, required=["image_name", "mos", "set"])
    table = table.assign(split=table["set"].map(_split_of_set))
    return Layout(
        table=table[["image_name", "mos", "split"]],
        image_dirs=[data_dir],
        mos_range=options.mos_range,
    )


DATASETS: Final[dict[str, Callable[[Path, Options], Layout]]] = {
    "koniq10k": koniq10k,
    "biq2021": biq2021,
    "csv": plain_csv,
}


def _read_csv(path: Path, required: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a CSV file of ratings, found none.")
    table = pd.read_csv(path, dtype={name: str for name in ("image_name", "Image Name", "set")})
    missing = [name for name in required if name not in table]
    if missing:
        raise ValueError(
            f"{path}: expected the columns {', '.join(required)}, "
            f"got {', '.join(map(str, table.columns))}."
        )
    for name in ("MOS", "mos", "MOS_zscore"):
        if name in table:
            numbers = pd.to_numeric(table[name], errors="coerce")
            words = table[name][numbers.isna() & table[name].notna()]
            if len(words):
                raise ValueError(
                    f"{path}, column {name}: expected numbers, got {words.iloc[0]!r} in line "
                    f"{words.index[0] + 2}, {len(words)} in all. Correct the file."
                )
    return table


def _first(roots: list[Path], name: str) -> Path | None:
    return next((root / name for root in roots if (root / name).is_file()), None)


def _split_of_set(name: object) -> str | None:
    known = {"training": "train", "validation": "val"}
    text = str(name).strip().lower()
    text = known.get(text, text)
    return text if text in SPLITS else None


def _split_of_name(image_name: str, train_percent: int, val_percent: int) -> str:
    """Choose a split from the name alone, the same on every machine."""
    percent = int(hashlib.sha256(image_name.encode()).hexdigest(), 16) % 100
    if percent < train_percent:
        return "train"
    return "val" if percent < train_percent + val_percent else "test"
