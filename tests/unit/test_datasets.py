"""The adapters: each layout that people have on disk, on small copies made here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training.data.config import DataConfig
from training.data.dataset_layouts import Options, split_of_name
from training.data.datasets import DATASETS, biq2021, koniq10k, plain_csv
from training.data.ratings import load

N = 30
SETS = ["training"] * 18 + ["validation"] * 6 + ["test"] * 6
NAMES = [f"{1000 + index}.jpg" for index in range(N)]
MOS = np.linspace(4, 88, N)
KONIQ_DIRS = [
    "", "images", "512x384", "koniq10k_512x384/512x384", "koniq10k_512x384", "1024x768",
    "data/512x384", "data",
]  # fmt: skip


def write_pictures(directory: Path, names: list[str]) -> None:
    """Write a small JPEG under each name."""
    directory.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), "grey").save(directory / "first.tmp", "JPEG")
    for name in names:
        shutil.copy(directory / "first.tmp", directory / name)
    (directory / "first.tmp").unlink()


def koniq_table(kind: str) -> pd.DataFrame:
    """Return ratings in the columns of the sets file, or of the scores file."""
    table = pd.DataFrame({"image_name": NAMES, "c_total": 100, "MOS": MOS, "SD": 0.5})
    if kind == "sets":
        return table.assign(set=SETS)
    return table.assign(MOS=1 + MOS / 25, MOS_zscore=MOS)


@pytest.mark.parametrize("folder", KONIQ_DIRS)
@pytest.mark.parametrize("labels_in", ["", "data", "metadata"])
def test_koniq_is_found_in_every_layout(tmp_path: Path, folder: str, labels_in: str) -> None:
    """Wherever copies of KonIQ-10k keep labels and pictures, all pictures are found."""
    write_pictures(tmp_path / folder, NAMES)
    (tmp_path / labels_in).mkdir(exist_ok=True)
    path = tmp_path / labels_in / "koniq10k_distributions_sets.csv"
    koniq_table("sets").to_csv(path, index=False)
    ratings = load(DataConfig(data_dir=tmp_path))
    assert ratings.counts() == {"train": 18, "val": 6, "test": 6}
    assert ratings.splits["train"].paths[0] == tmp_path / folder / "1000.jpg"
    assert ratings.splits["train"].target[0] == pytest.approx(0.04)
    assert not ratings.is_official


def test_koniq_scores_file_gives_the_published_scale(tmp_path: Path) -> None:
    """The scores file's own MOS is 1-5; its MOS_zscore is the 0-100 one and is taken."""
    path = tmp_path / "koniq10k_scores_and_distributions.csv"
    koniq_table("scores").to_csv(path, index=False)
    layout = koniq10k(tmp_path, Options())
    np.testing.assert_allclose(layout.table["mos"], MOS)
    assert layout.notes[0] == f"ratings from column MOS_zscore of {path.name}"
    assert "not the official one" in layout.notes[1]
    assert set(layout.table["split"]) <= {"train", "val", "test"}


def test_koniq_mos_of_1_to_5_is_stretched_with_a_note(tmp_path: Path) -> None:
    """Without MOS_zscore a 1-5 MOS is mapped to 0-100, and a person is told."""
    path = tmp_path / "koniq10k_scores_and_distributions.csv"
    koniq_table("scores").drop(columns="MOS_zscore").to_csv(path, index=False)
    layout = koniq10k(tmp_path, Options())
    np.testing.assert_allclose(layout.table["mos"], MOS)
    assert any("stretched" in note for note in layout.notes)


def test_split_by_name_does_not_depend_on_the_other_rows(tmp_path: Path) -> None:
    """A picture stays in its split when rows are added, removed or sorted anew."""
    path = tmp_path / "koniq10k_scores_and_distributions.csv"
    table = koniq_table("scores")
    table.to_csv(path, index=False)
    before = koniq10k(tmp_path, Options()).table.set_index("image_name")["split"]
    table.iloc[::-2].to_csv(path, index=False)
    after = koniq10k(tmp_path, Options()).table.set_index("image_name")["split"]
    assert after.to_dict() == before[after.index].to_dict()


def test_koniq_sets_file_is_preferred_and_labels_option_wins(tmp_path: Path) -> None:
    """With both files the one with the official split is read, unless --labels names another."""
    for kind, name in (("sets", "distributions_sets"), ("scores", "scores_and_distributions")):
        koniq_table(kind).to_csv(tmp_path / f"koniq10k_{name}.csv", index=False)
    assert "distributions_sets" in koniq10k(tmp_path, Options()).notes[0]
    own = tmp_path / "own.csv"
    koniq_table("sets").to_csv(own, index=False)
    assert "own.csv" in koniq10k(tmp_path, Options(labels=own)).notes[0]


def test_koniq_without_labels_says_where_they_are_expected(tmp_path: Path) -> None:
    """The message names both files and the option."""
    with pytest.raises(FileNotFoundError, match=r"distributions_sets\.csv or .*--labels FILE"):
        koniq10k(tmp_path, Options())


def write_biq2021(directory: Path, train: list[str], test: list[str]) -> None:
    """Write BIQ2021's two files of ratings."""
    for part, names in (("Train", train), ("Test", test)):
        table = pd.DataFrame({"Image Name": names, "MOS": np.linspace(0.05, 0.95, len(names))})
        table.to_csv(directory / f"{part} (Images and MOS).csv", index=False)


def test_biq2021_reads_names_with_spaces_brackets_and_another_case(tmp_path: Path) -> None:
    """Names are taken as written, and one that differs in case only is still found."""
    train = [f"Image ({index}) a.jpg" for index in range(60)]
    test = [f"Test [{index}].jpg" for index in range(5)] + ["odd one.jpg"]
    write_pictures(tmp_path / "Images", [*train, *test[:-1], "odd one.JPG"])
    write_biq2021(tmp_path, train, test)
    ratings = load(DataConfig(dataset="biq2021", data_dir=tmp_path))
    assert ratings.splits["test"].names == test
    assert ratings.splits["test"].paths[-1].name == "odd one.JPG"
    counts = ratings.counts()
    assert counts["train"] + counts["val"] == 60
    assert 2 <= counts["val"] <= 15


def test_biq2021_holds_out_its_official_number_of_pictures() -> None:
    """The published counts add up to 12,000, the split's own to what the adapter calls official."""
    names = [f"Image ({index}).jpg" for index in range(10_000)]
    held_out = sum(split_of_name(name, 90, 10) == "val" for name in names)
    assert 900 <= held_out <= 1100


def test_biq2021_without_its_files_names_the_missing_one(tmp_path: Path) -> None:
    """The message is the path."""
    with pytest.raises(FileNotFoundError, match=r"Train \(Images and MOS\)\.csv: expected a CSV"):
        biq2021(tmp_path, Options())


def test_plain_csv_takes_its_own_scale(tmp_path: Path) -> None:
    """Any ratings with a set column and a given range are read; synonyms of the sets are known."""
    write_pictures(tmp_path / "pictures", NAMES)
    sets = ["train"] * 18 + ["Validation "] * 6 + ["TEST"] * 6
    table = pd.DataFrame({"image_name": NAMES, "mos": np.linspace(1, 5, N), "set": sets})
    table.to_csv(tmp_path / "own.csv", index=False)
    ratings = load(
        DataConfig(
            dataset="csv",
            data_dir=tmp_path / "pictures",
            labels=tmp_path / "own.csv",
            mos_range=(1.0, 5.0),
        )
    )
    assert ratings.counts() == {"train": 18, "val": 6, "test": 6}
    assert ratings.splits["test"].target[-1] == 1.0


@pytest.mark.parametrize("is_absolute", [True, False])
def test_plain_csv_without_sets_is_all_for_test(tmp_path: Path, is_absolute: bool) -> None:
    """To measure a model, names (absolute, or relative with folders) and ratings are enough."""
    write_pictures(tmp_path / "trip" / "day 1", ["a.jpg", "B.jpg"])
    write_pictures(tmp_path / "elsewhere", ["c.jpg"])
    names = ["day 1/a.jpg", "./day 1/B.jpg", "../elsewhere/c.jpg"]
    if is_absolute:
        names = [str((tmp_path / "trip" / name).resolve()) for name in names]
    labels = tmp_path / "own.csv"
    pd.DataFrame({"image_name": names, "mos": [2, 9, 5]}).to_csv(labels, index=False)
    folder = tmp_path if is_absolute else tmp_path / "trip"
    config = DataConfig(dataset="csv", data_dir=folder, labels=labels, mos_range=(0.0, 10.0))
    ratings = load(config, needed=("test",))
    assert ratings.counts() == {"train": 0, "val": 0, "test": 3}
    assert [path.resolve().name for path in ratings.splits["test"].paths] == [
        "a.jpg", "B.jpg", "c.jpg",
    ]  # fmt: skip
    assert ratings.splits["test"].target.tolist() == [0.2, 0.9, 0.5]


@pytest.mark.parametrize("options", [Options(), Options(mos_range=(0.0, 1.0))])
def test_plain_csv_needs_labels_and_range(options: Options) -> None:
    """Neither is guessed; labels alone are read as classes."""
    with pytest.raises(ValueError, match="expected --labels FILE and --mos-range LOW HIGH"):
        plain_csv(Path(), options)


@pytest.mark.parametrize("dataset", ["koniq10k", "biq2021", "csv"])
def test_columns_that_are_missing_are_named(tmp_path: Path, dataset: str) -> None:
    """A file with other columns is refused with what was expected and what it has."""
    path = tmp_path / "own.csv"
    for name in ("own.csv", "Train (Images and MOS).csv", "Test (Images and MOS).csv"):
        pd.DataFrame({"file": ["a"], "rating": [1]}).to_csv(tmp_path / name, index=False)
    options = Options(labels=path, mos_range=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"expected the columns .*, got file, rating\."):
        DATASETS[dataset](tmp_path, options)


def test_all_digit_names_stay_text(tmp_path: Path) -> None:
    """A name such as 007 keeps its zeros."""
    path = tmp_path / "own.csv"
    path.write_text("image_name,mos,set\n007,1,train\n")
    layout = plain_csv(tmp_path, Options(labels=path, mos_range=(0.0, 1.0)))
    assert list(layout.table["image_name"]) == ["007"]


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("koniq10k", {"koniq10k_distributions_sets.csv": ("image_name", "MOS")}),
        ("koniq10k", {"koniq10k_scores_and_distributions.csv": ("image_name", "MOS_zscore")}),
        (
            "biq2021",
            {
                "Train (Images and MOS).csv": ("Image Name", "MOS"),
                "Test (Images and MOS).csv": ("Image Name", "MOS"),
            },
        ),
        ("kadid10k", {"dmos.csv": ("dist_img", "dmos")}),
    ],
)
def test_published_sets_may_have_been_saved_again_too(
    tmp_path: Path, dataset: str, files: dict[str, tuple[str, str]]
) -> None:
    """Semicolons, decimal commas, UTF-16 and another letter case give the very same table."""
    tables = []
    for is_saved_again in (False, True):
        for start, (name, (image_name, mos)) in enumerate(files.items()):
            names = [f"{start}{i}.jpg" for i in range(20)]
            table = pd.DataFrame({image_name: names, mos: np.linspace(1.1, 4.9, 20)})
            table = table.assign(ref_img=names, set="training")
            if mos == "MOS_zscore":
                table = table.assign(MOS=2.5)
            text = table.to_csv(index=False)
            if is_saved_again:
                table.columns = table.columns.str.upper()
                text = table.to_csv(index=False, sep=";", decimal=",", lineterminator="\r")
            (tmp_path / name).write_bytes(text.encode("utf-16" if is_saved_again else "utf-8"))
        tables.append(DATASETS[dataset](tmp_path, Options()).table)
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.skipif("KONIQ_LABELS" not in os.environ, reason="KONIQ_LABELS names no label file")
def test_published_label_file_gives_the_official_split() -> None:
    """The authors' own file has 10,073 pictures, 7058 / 1000 / 2015, rated 3.9 to 88.4."""
    layout = koniq10k(Path(), Options(labels=Path(os.environ["KONIQ_LABELS"])))
    assert len(layout.table) == layout.table["image_name"].nunique() == 10_073
    counts = layout.table["split"].value_counts().to_dict()
    assert counts == layout.official_counts == {"train": 7058, "val": 1000, "test": 2015}
    mos = layout.table["mos"]
    assert (mos.min(), mos.max()) == pytest.approx((3.912, 88.389), abs=1e-3)
