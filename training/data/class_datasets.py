"""
The data sets of classes: one small adapter each, entered into `training.data.datasets.DATASETS`.

An adapter finds images and labels; `training.data.targets.class_targets` checks the labels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from iqa.imaging.sniff import SUFFIXES
from numpy.typing import NDArray

from training.data.dataset_layouts import Layout, Options, split_of_name
from training.data.idx_files import IdxImage, find_idx, read_idx
from training.data.ratings_table import read_ratings

FASHION_CLASSES: Final = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
FASHION_FILES: Final = tuple(
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
DEBIAN_FASHION: Final = Path("/usr/share/datasets/fashion-mnist")
SPLIT_FOLDERS: Final = {
    "train": ("train", "training"),
    "val": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
HANDWRITING_NAMES: Final = {
    "printed": ("printed", "print", "printing"),
    "handwritten": ("handwritten", "handwriting", "manuscript"),
}
HELD_OUT_PERCENT: Final = 10


def fashion_mnist(data_dir: Path, options: Options) -> Layout:
    """
    Read Fashion-MNIST's four IDX files: of Debian's package, or as torchvision lays them out.

    It has no validation set: a tenth of the training split, chosen by a hash of the number, is
    held out.
    """
    folders = [data_dir, data_dir / "FashionMNIST" / "raw", DEBIAN_FASHION]
    if options.download and any(find_idx(folders, name) is None for name in FASHION_FILES):
        _download_fashion(data_dir)
    rows, files = [], {}
    for part, first in (("train", "train"), ("test", "t10k")):
        images = _idx(folders, f"{first}-images-idx3-ubyte", 3)
        labels = _idx(folders, f"{first}-labels-idx1-ubyte", 1)
        if len(images) != len(labels) or labels.max(initial=0) >= len(FASHION_CLASSES):
            raise ValueError(
                f"{first}: expected a label of 0 to {len(FASHION_CLASSES) - 1} for each of "
                f"{len(images)} images, got {len(labels)}, up to {labels.max(initial=0)}. "
                "Fetch the files again."
            )
        for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            name = f"{first}-{number:05d}"
            split = "test" if part == "test" else "val" if _is_held_out(name) else "train"
            rows.append((name, FASHION_CLASSES[label], split))
            files[name] = IdxImage(name, pixels)
    return Layout(
        table=pd.DataFrame(rows, columns=["image_name", "label", "split"]),
        image_dirs=[],
        files=files,
        class_names=FASHION_CLASSES,
        # The authors publish 60,000 / 10,000; 6,071 of the 60,000 are the held-out tenth.
        official_counts={"train": 53929, "val": 6071, "test": 10000},
        notes=("validation: a tenth of the official training split, by a hash of the number",),
    )


def imagefolder(data_dir: Path, options: Options) -> Layout:
    """
    Read a folder for each split, in it a folder for each class: `train/CLASS/*.jpg`.

    Validation may be called valid, val or validation; where there is none, a tenth of the training
    images, chosen by a hash of the name, is held out.
    """
    folders = {
        split: next((data_dir / name for name in names if (data_dir / name).is_dir()), None)
        for split, names in SPLIT_FOLDERS.items()
    }
    if folders["train"] is None and folders["test"] is None:
        raise FileNotFoundError(
            f"{data_dir}: expected the folders train/, valid/ and test/, in each a folder for each "
            f"class, got {_listed(data_dir)}."
        )
    rows, skipped, empty = [], 0, []
    for split, folder in folders.items():
        for class_folder in sorted(_folders_in(folder)):
            found = [path for path in sorted(class_folder.rglob("*")) if path.is_file()]
            images = [path for path in found if path.suffix.lower() in SUFFIXES]
            skipped += len(found) - len(images)
            if not images:
                empty.append(str(class_folder.relative_to(data_dir)))
            rows += [(str(p.relative_to(data_dir)), class_folder.name, split) for p in images]
    if empty:
        raise ValueError(
            f"{data_dir}: expected images in the folder of each class, got none in {len(empty)} "
            f"({', '.join(empty[:5])}). Add images, or remove these folders."
        )
    notes = [f"{skipped} files that are no images are left out"] if skipped else []
    table = pd.DataFrame(rows, columns=["image_name", "label", "split"])
    if folders["val"] is None and folders["train"] is not None:
        is_held_out = [
            split == "train" and _is_held_out(name)
            for name, split in zip(table["image_name"], table["split"], strict=True)
        ]
        table.loc[is_held_out, "split"] = "val"
        notes.append("no folder valid: a tenth of train is held out, by a hash of the name")
    return Layout(table=table, image_dirs=[data_dir], notes=tuple(notes))


def butterflies(data_dir: Path, options: Options) -> Layout:
    """Read the 100 species of ngocdaobao/Butterflies-Classification, or a folder of its layout."""
    inside = data_dir / "src" / "dataset"
    return imagefolder(inside if inside.is_dir() else data_dir, options)


def handwriting(data_dir: Path, options: Options) -> Layout:
    """
    Read lines of text, printed or handwritten, as exports of CATMuS and CORTO lay them out.

    Those are `train/`, `validation/` and `test/`, in each a folder for each kind, with images of
    1024 x 256. A kind's folder may have any of `HANDWRITING_NAMES`, in any letter case.
    """
    layout = imagefolder(data_dir, options)
    kind_of = {name: kind for kind, names in HANDWRITING_NAMES.items() for name in names}
    labels = [kind_of.get(str(label).lower(), str(label)) for label in layout.table["label"]]
    names = [Path(str(name)).name for name in layout.table["image_name"]]
    is_synthetic = any(name.startswith("synthetic-") for name in names)
    return replace(
        layout,
        table=layout.table.assign(label=labels),
        class_names=tuple(HANDWRITING_NAMES),
        # training.demo_data's lines share the layout and must never pass for written ones.
        name="handwriting-synthetic" if is_synthetic else None,
    )


def labelled_csv(data_dir: Path, options: Options) -> Layout:
    """Read `--labels FILE` with the columns image_name, label and, for training, set."""
    assert options.labels is not None  # the caller looked
    found = read_ratings(
        options.labels,
        ["image_name", "label"],
        optional=["set"],
        headers={k: v for k, v in options.columns.items() if k != "mos"},
        remedy="Say which column is which: --columns name=HEADER,label=HEADER[,set=HEADER]. For "
        "ratings in place of labels give their scale, --mos-range LOW HIGH.",
    )
    names = found.names("image_name")
    splits = found.splits("set") if "set" in found else ["test"] * len(names)
    table = {"image_name": names, "label": found.texts("label"), "split": splits}
    notes = () if "set" in found else ("no column set: all images are for test",)
    return Layout(table=pd.DataFrame(table), image_dirs=[data_dir], notes=notes)


CLASS_DATASETS: Final = {
    "fashion_mnist": fashion_mnist,
    "imagefolder": imagefolder,
    "butterflies": butterflies,
    "handwriting": handwriting,
}


def _idx(folders: list[Path], name: str, dimensions: int) -> NDArray[np.uint8]:
    path = find_idx(folders, name)
    if path is None:
        raise FileNotFoundError(
            f"Fashion-MNIST: expected {name}.gz in {', '.join(map(str, folders))}, got none. "
            "Install Debian's package dataset-fashion-mnist, or add --download."
        )
    return read_idx(path, dimensions)


def _download_fashion(data_dir: Path) -> None:
    """
    Fetch the four files by torchvision, which checks their digests.

    Raises:
        ValueError: There is no access.
    """
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(data_dir), download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"--download: expected to fetch Fashion-MNIST, got: {error}. Without access: install "
            "Debian's package dataset-fashion-mnist, or copy the four files to --data-dir."
        ) from error


def _is_held_out(name: str) -> bool:
    return split_of_name(name, 100 - HELD_OUT_PERCENT, HELD_OUT_PERCENT) == "val"


def _folders_in(folder: Path | None) -> list[Path]:
    return [] if folder is None else [path for path in folder.iterdir() if path.is_dir()]


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())[:5]
    return ", ".join(names) or "an empty folder"
