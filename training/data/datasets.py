"""
The data sets that training can read: one small adapter each, in one table.

An adapter finds the pictures and the ratings of one layout on disk. To add a data set, write a
function `(data_dir, options) -> Layout` and name it in `DATASETS`; every check is elsewhere
(`training.data.ratings_table` of a file, `training.data.ratings` of what was found).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pandas as pd

from training.data.class_datasets import CLASS_DATASETS, labelled_csv
from training.data.cross_datasets import kadid10k, livec, spaq, tid2013
from training.data.dataset_layouts import (
    Layout,
    Options,
    first_file,
    split_of_name,
)
from training.data.ratings_table import read_ratings


def koniq10k(data_dir: Path, options: Options) -> Layout:
    """
    Read KonIQ-10k as its authors, the Kaggle mirror and common copies lay it out.

    The ratings are 0-100: column MOS of the sets file, MOS_zscore of the scores file (whose own
    MOS is 1-5). The split is the sets file's.
    """
    roots = [data_dir / "data", data_dir, data_dir / "metadata"]
    sets = first_file(roots, "koniq10k_distributions_sets.csv")
    scores = first_file(roots, "koniq10k_scores_and_distributions.csv")
    path = options.labels or sets or scores
    if path is None:
        raise FileNotFoundError(
            f"{data_dir}: expected data/koniq10k_distributions_sets.csv or "
            "data/koniq10k_scores_and_distributions.csv, got neither. "
            "Unpack KonIQ-10k there, or name the file: --labels FILE."
        )
    found = read_ratings(path, ["image_name", "MOS"], optional=["MOS_zscore", "set"])
    column = "MOS_zscore" if "MOS_zscore" in found else "MOS"
    notes = [f"ratings from column {column} of {path.name}"]
    names, mos = found.names("image_name"), found.numbers(column)
    if column == "MOS" and mos.max(initial=0) <= 5:
        mos = (mos - 1) * 25
        notes.append(
            "MOS of 1-5 stretched to 0-100; it is not the published 0-100 MOS, "
            "which is normalised per rater"
        )
    if "set" in found:
        splits = found.splits("set")
    else:
        splits = [split_of_name(name) for name in names]
        notes.append(
            "no column set: split=custom, by a hash of the name, 70/10/20, not the official one"
        )
    return Layout(
        table=pd.DataFrame({"image_name": names, "mos": mos, "split": splits}),
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
        name="synthetic" if all(name.startswith("synthetic-") for name in names) else None,
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
        found = read_ratings(path, ["Image Name", "MOS"])
        names = found.names("Image Name")
        is_test = part == "Test"
        splits = ["test" if is_test else split_of_name(name, 90, 10) for name in names]
        mos = found.numbers("MOS")
        parts.append(pd.DataFrame({"image_name": names, "mos": mos, "split": splits}))
    return Layout(
        table=pd.concat(parts, ignore_index=True),
        image_dirs=[data_dir / "Images", data_dir],
        mos_range=(0.0, 1.0),
        # The authors publish 10,000 / 2,000; 995 of the 10,000 are the held-out tenth.
        official_counts={"train": 9005, "val": 995, "test": 2000},
        notes=("validation: a tenth of the official training split, by a hash of the name",),
    )


def plain_csv(data_dir: Path, options: Options) -> Layout:
    """
    Read `--labels FILE` with the columns image_name, mos and, for training, set.

    Without `--mos-range` it holds labels in place of ratings, see `labelled_csv`.

    `--columns` says what they are called in the file, where it is something else. Names are
    absolute or relative to `data_dir`. Without a column set, all
    pictures are for test: whoever measures a model on photographs of their own has no other use
    for them.
    """
    if options.mos_range is None and options.labels is not None:
        return labelled_csv(data_dir, options)
    if options.labels is None or options.mos_range is None:
        raise ValueError(
            "--dataset csv: expected --labels FILE and --mos-range LOW HIGH, got "
            f"labels {options.labels}, mos-range {options.mos_range}. Of labels in place of "
            "ratings the file is enough."
        )
    found = read_ratings(
        options.labels,
        ["image_name", "mos"],
        optional=["set"],
        headers=options.columns,
        remedy="Say which column is which: --columns name=HEADER,mos=HEADER[,set=HEADER].",
    )
    names, mos = found.names("image_name"), found.numbers("mos")
    notes = []
    if "set" in found:
        splits = found.splits("set")
    else:
        splits = ["test"] * len(names)
        notes.append("no column set: all pictures are for test")
    return Layout(
        table=pd.DataFrame({"image_name": names, "mos": mos, "split": splits}),
        image_dirs=[data_dir],
        mos_range=options.mos_range,
        notes=tuple(notes),
    )


DATASETS: Final[dict[str, Callable[[Path, Options], Layout]]] = {
    "koniq10k": koniq10k,
    "biq2021": biq2021,
    "livec": livec,
    "spaq": spaq,
    "kadid10k": kadid10k,
    "tid2013": tid2013,
    "csv": plain_csv,
    **CLASS_DATASETS,
}
