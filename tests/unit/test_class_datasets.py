"""The data sets of classes: IDX files, folders, a table; what is wrong with them is said."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from iqa.imaging.decoding import decode
from iqa.imaging.sniff import SUFFIXES

from tests.images import encode
from tests.labelled import CLASSES, SPLITS, write
from training.data import class_datasets
from training.data.class_datasets import FASHION_CLASSES, butterflies, fashion_mnist, imagefolder
from training.data.config import DataConfig
from training.data.dataset_layouts import Options
from training.data.datasets import plain_csv
from training.data.idx_files import IdxImage, read_idx
from training.data.ratings import load
from training.data.targets import class_targets
from training.tasks.task_table import CLASSES as TASK
from training.tasks.task_table import QUALITY, task_of_data


def idx(array: np.ndarray) -> bytes:
    """Return an IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four small IDX files, and no package of Debian's."""
    monkeypatch.setattr(class_datasets, "DEBIAN_FASHION", tmp_path / "none")
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28))
        packed = gzip.compress(idx(images))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return tmp_path


def test_fashion_mnist_is_read_packed_or_plain(fashion: Path) -> None:
    """Names of the classes in the authors' order; a part of train is held out."""
    data = load(DataConfig(dataset="fashion_mnist", data_dir=fashion), targets=TASK.targets)
    assert data.facts == {"class_names": list(FASHION_CLASSES)}
    counts = data.counts()
    assert counts["test"] == 20 and counts["train"] + counts["val"] == 60 and counts["val"] > 1
    test = data.splits["test"]
    assert test.names[3] == "t10k-00003" and test.target[3] == 3
    assert not data.is_official and data.duplicates() == []


def test_an_image_of_an_idx_file_is_decoded_as_a_file_of_a_client(fashion: Path) -> None:
    """Its pixels come through unchanged, as those of a PNG do."""
    pixels = read_idx(fashion / "train-images-idx3-ubyte.gz", 3)[0]
    for body in (IdxImage("x", pixels).read_bytes(), encode(pixels, "PNG")):
        assert (np.asarray(decode(body).image.convert("L")) == pixels).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda body: body[:-1], r"expected 60 bytes after the header, got 59"),
        (lambda body: b"\1" + body[1:], "begins with 01000801"),
        (lambda body: gzip.compress(body)[:-9], "expected an IDX file, got"),
        (lambda body: b"", "begins with nothing"),
    ],
)
def test_a_damaged_idx_file_is_refused(fashion: Path, change, expected: str) -> None:  # type: ignore[no-untyped-def]
    """Cut or another kind of file: said, with what to do."""
    path = fashion / "train-labels-idx1-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{expected}.*Fetch it again"):
        fashion_mnist(fashion, Options())


def test_a_download_that_was_interrupted_is_asked_for_again(
    fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the four files is missing: with --download it is fetched, not asked for."""
    missing = fashion / "t10k-labels-idx1-ubyte"
    body = missing.read_bytes()
    missing.unlink()
    monkeypatch.setattr(class_datasets, "_download_fashion", lambda _: missing.write_bytes(body))
    layout = fashion_mnist(fashion, Options(download=True))
    assert len(layout.table) == 80


def test_a_csv_of_labels_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A mistyped name is not answered by what the command line would need otherwise."""
    with pytest.raises(FileNotFoundError, match=r"typo\.csv: expected a CSV file .* no such file"):
        plain_csv(tmp_path, Options(labels=tmp_path / "typo.csv"))


def test_without_the_files_the_package_and_the_download_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step stands in the error."""
    monkeypatch.setattr(class_datasets, "DEBIAN_FASHION", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist, or add --download"):
        load(DataConfig(dataset="fashion_mnist", data_dir=tmp_path / "x"), targets=TASK.targets)


def test_folders_of_classes_are_read(tmp_path: Path) -> None:
    """train, valid and test; other files in them are left out and counted."""
    write(tmp_path)
    (tmp_path / "train" / "dots" / "notes.txt").write_text("no image")
    data = load(DataConfig(dataset="imagefolder", data_dir=tmp_path), targets=TASK.targets)
    assert data.facts["class_names"] == list(CLASSES)
    assert data.counts() == {
        "train": 3 * SPLITS["train"], "val": 3 * SPLITS["valid"], "test": 3 * SPLITS["test"],
    }  # fmt: skip
    layout = imagefolder(tmp_path, Options())
    assert layout.notes == ("1 files that are no images are left out",)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_that_is_decoded_counts_as_an_image(tmp_path: Path, suffix: str) -> None:
    """By its ending, in any letter case."""
    write(tmp_path)
    (tmp_path / "train" / "dots" / f"one{suffix.upper()}").write_bytes(b"decoded later")
    layout = imagefolder(tmp_path, Options())
    assert f"train/dots/one{suffix.upper()}" in set(layout.table["image_name"])


def test_without_a_folder_for_validation_a_tenth_is_held_out(tmp_path: Path) -> None:
    """Always the same images."""
    (write(tmp_path) / "valid").rename(tmp_path / "elsewhere")
    splits = imagefolder(tmp_path, Options()).table["split"].value_counts()
    assert splits["train"] + splits["val"] == 3 * SPLITS["train"] and 3 <= splits["val"] <= 20


def test_butterflies_are_found_inside_their_repository(tmp_path: Path) -> None:
    """src/dataset, as its authors have it, or the folder itself."""
    write(tmp_path / "src" / "dataset")
    inside = butterflies(tmp_path, Options()).table
    assert inside.equals(butterflies(tmp_path / "src" / "dataset", Options()).table)


def test_what_is_wrong_with_folders_is_said(tmp_path: Path) -> None:
    """No splits; a class without images; a class that training never sees."""
    with pytest.raises(FileNotFoundError, match=r"train/, valid/ and test/.*an empty folder"):
        imagefolder(tmp_path, Options())
    write(tmp_path)
    (tmp_path / "train" / "waves").mkdir()
    with pytest.raises(ValueError, match=r"got none in 1 \(train/waves\)"):
        imagefolder(tmp_path, Options())
    (tmp_path / "train" / "waves").rename(tmp_path / "test" / "waves")
    (tmp_path / "test" / "dots" / "0.png").rename(tmp_path / "test" / "waves" / "0.png")
    with pytest.raises(ValueError, match=r"got waves in 1 rows \(test/waves/0.png\)"):
        class_targets(imagefolder(tmp_path, Options()))


def test_the_same_image_in_two_splits_is_found(tmp_path: Path) -> None:
    """Byte for byte, under any name."""
    write(tmp_path)
    same = tmp_path / "test" / "dots" / "copy.png"
    same.write_bytes((tmp_path / "train" / "dots" / "3.png").read_bytes())
    data = load(DataConfig(dataset="imagefolder", data_dir=tmp_path), targets=TASK.targets)
    assert data.duplicates() == [("train/dots/3.png", "test/dots/copy.png")]


def test_a_model_s_classes_number_those_of_other_data(tmp_path: Path) -> None:
    """By its card's order, though some are not there; what it does not know is refused."""
    layout = imagefolder(write(tmp_path), Options())
    card = {"class_names": ["waves", "stripes", "rings", "dots"]}
    target, _ = TASK.targets_of(card)(layout)
    assert set(target[layout.table["label"] == "rings"]) == {2.0}
    with pytest.raises(ValueError, match=r"got stripes in .*take a model of these classes"):
        TASK.targets_of({"class_names": ["dots", "rings"]})(layout)


def test_a_table_of_labels_is_a_csv_without_a_range(tmp_path: Path) -> None:
    """The same --dataset csv; which task it is for follows from --mos-range."""
    write(tmp_path)
    labels = tmp_path / "labels.csv"
    sets = {"train": "train", "valid": "validation", "test": "test"}
    rows = [
        f"{folder}/{label}/{n}.png;{label};{split}"
        for folder, split in sets.items()
        for label in CLASSES
        for n in range(4)
    ]
    labels.write_text("\n".join(["file;kind;set", *rows]))
    columns = {"image_name": "file", "label": "kind"}
    config = DataConfig(dataset="csv", data_dir=tmp_path, labels=labels, columns=columns)
    assert task_of_data(config) is TASK
    assert load(config, targets=TASK.targets).counts() == {"train": 12, "val": 12, "test": 12}
    rated = DataConfig(dataset="csv", data_dir=tmp_path, labels=labels, mos_range=(0.0, 1.0))
    assert task_of_data(rated) is QUALITY
    with pytest.raises(ValueError, match="expected a column mos and its range"):
        load(config, targets=QUALITY.targets)
    with pytest.raises(ValueError, match=r"image_name, label.*name=HEADER,label=HEADER"):
        load(DataConfig(dataset="csv", data_dir=tmp_path, labels=labels), targets=TASK.targets)
