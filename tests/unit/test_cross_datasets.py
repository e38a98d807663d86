"""LIVE-C, SPAQ, KADID-10k and TID2013, on small folders of the same layout made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from training.data.config import DataConfig
from training.data.dataset_layouts import SPLITS, Options, split_by_reference
from training.data.datasets import DATASETS
from training.data.ratings import Ratings, load

N_LIVE_C = 47


def write_pictures(directory: Path, names: list[str]) -> None:
    """Write a small picture under each name, whatever its ending says."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), "grey").save(directory / name, "BMP")


def write_livec(root: Path, n_ratings: int = N_LIVE_C) -> None:
    """Write LIVE-C: names in a cell array of one column, ratings in a row, as released."""
    names = [f"t{i + 1}.bmp" for i in range(7)]
    names += [f"{i}.{('bmp', 'JPG', 'PNG')[i % 3]}" for i in range(7, N_LIVE_C)]
    release = root / "ChallengeDB_release"
    write_pictures(release / "Images", [f"trainingImages/{name}" for name in names[:7]])
    write_pictures(release / "Images", names[7:])
    (release / "Data").mkdir()
    cells = np.array([[name] for name in names], dtype=object)
    savemat(release / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    mos = np.linspace(3, 92, n_ratings)[None]
    savemat(release / "Data" / "AllMOS_release.mat", {"AllMOS_release": mos})
    savemat(release / "Data" / "AllStdDev_release.mat", {"AllStdDev_release": mos / 5})


def write_spaq(root: Path) -> None:
    """Write SPAQ: a sheet of ratings beside attributes that are not read."""
    names = [f"{i:05d}.jpg" for i in range(1, 41)]
    write_pictures(root / "TestImage", names)
    (root / "Annotations").mkdir()
    table = pd.DataFrame({"Image name": names, "MOS": np.linspace(2, 98, 40), "Brightness": 50})
    table.to_excel(root / "Annotations" / "MOS and Image attribute scores.xlsx", index=False)


def write_kadid10k(root: Path) -> None:
    """Write KADID-10k: 20 references, 2 distortions, 5 levels, the first level rated best."""
    rows = [
        (f"I{r:02d}_{kind:02d}_{level:02d}.png", f"I{r:02d}.png", 5.7 - 0.9 * level, 0.5)
        for r in range(1, 21)
        for kind in (1, 2)
        for level in range(1, 6)
    ]
    table = pd.DataFrame(rows, columns=["dist_img", "ref_img", "dmos", "var"])
    write_pictures(root / "images", [*table["dist_img"], *table["ref_img"]])
    table.to_csv(root / "dmos.csv", index=False)


def write_tid2013(root: Path) -> None:
    """Write TID2013: 25 references, the list's names in another case than half of the files."""
    names = [f"{'Ii'[r % 2]}{r:02d}_01_{level}.bmp" for r in range(1, 26) for level in range(1, 6)]
    write_pictures(root / "distorted_images", [name.lower() for name in names])
    lines = [f"{7.2 - int(name[-5]):.5f} {name.upper()[:8]}.bmp" for name in names]
    (root / "mos_with_names.txt").write_text("\n".join(lines) + "\n")


WRITERS: dict[str, Callable[[Path], None]] = {
    "livec": write_livec,
    "spaq": write_spaq,
    "kadid10k": write_kadid10k,
    "tid2013": write_tid2013,
}


def read(root: Path, dataset: str) -> Ratings:
    """Write a set and load it."""
    WRITERS[dataset](root)
    return load(DataConfig(dataset=dataset, data_dir=root))


@pytest.mark.parametrize(
    ("dataset", "n", "worst", "best"),
    [
        # Straight from the ratings written above, on each set's own scale.
        ("livec", N_LIVE_C - 7, (3 + 89 * 7 / 46) / 100, 0.92),
        ("spaq", 40, 0.02, 0.98),
        ("kadid10k", 200, (1.2 - 1) / 4, (4.8 - 1) / 4),
        ("tid2013", 125, 2.2 / 9, 6.2 / 9),
    ],
)
def test_every_set_is_read_on_the_common_scale(
    tmp_path: Path, dataset: str, n: int, worst: float, best: float
) -> None:
    """All pictures are found, in three splits, and ratings become quality, higher is better."""
    ratings = read(tmp_path, dataset)
    whole = ratings.split("all")
    assert len(whole) == n
    assert all(count >= 2 for count in ratings.counts().values())
    assert (whole.target.min(), whole.target.max()) == pytest.approx((worst, best))
    assert not ratings.is_official


@pytest.mark.parametrize("dataset", WRITERS)
def test_the_split_is_noted_as_custom(tmp_path: Path, dataset: str) -> None:
    """None of the four has an official split; the log says how this one was made."""
    WRITERS[dataset](tmp_path)
    notes = DATASETS[dataset](tmp_path, Options()).notes
    assert notes[-1].startswith("split=custom: by a hash of the ")


@pytest.mark.parametrize("dataset", WRITERS)
def test_an_empty_folder_is_told_what_belongs_there(tmp_path: Path, dataset: str) -> None:
    """The message names the missing file, both places it may lie in, and the set."""
    with pytest.raises(FileNotFoundError, match=r"expected .+ or .+, got neither\. Unpack"):
        load(DataConfig(dataset=dataset, data_dir=tmp_path))


@pytest.mark.parametrize("dataset", ["spaq", "kadid10k", "tid2013"])
def test_the_archives_own_folder_may_be_there(tmp_path: Path, dataset: str) -> None:
    """Unpacked with or without its top folder, the set is found."""
    top = tmp_path / {"spaq": "SPAQ"}.get(dataset, dataset)
    top.mkdir()
    WRITERS[dataset](top)
    found = load(DataConfig(dataset=dataset, data_dir=tmp_path)).split("all")
    assert found.paths
    assert all(path.is_relative_to(top) for path in found.paths)


def test_livec_leaves_out_the_pictures_that_taught_the_raters(tmp_path: Path) -> None:
    """The first 7 are no part of the set, and the rest keep their own ratings."""
    whole = read(tmp_path, "livec").split("all")
    assert not [name for name in whole.names if name.startswith("t")]
    mos = dict(zip(whole.names, 100 * whole.target, strict=True))
    assert mos["8.PNG"] == pytest.approx(3 + 89 * 8 / 46)


def test_livec_without_its_own_folder_is_read_too(tmp_path: Path) -> None:
    """--data-dir may also name ChallengeDB_release itself."""
    write_livec(tmp_path)
    outside = load(DataConfig(dataset="livec", data_dir=tmp_path)).split("all")
    inside = load(DataConfig(dataset="livec", data_dir=tmp_path / "ChallengeDB_release"))
    assert inside.split("all").digest() == outside.digest()


def test_livec_with_fewer_ratings_than_names_is_refused(tmp_path: Path) -> None:
    """Two files of different length belong to different releases."""
    write_livec(tmp_path, n_ratings=40)
    with pytest.raises(ValueError, match=r"a rating for each of the 47 pictures .*got 40"):
        load(DataConfig(dataset="livec", data_dir=tmp_path))


@pytest.mark.parametrize("content", [b"", b"no MATLAB file, " * 20])
def test_livec_with_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """What scipy cannot read is named, with the variable that was looked for."""
    write_livec(tmp_path)
    (tmp_path / "ChallengeDB_release" / "Data" / "AllMOS_release.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"MATLAB file with the variable AllMOS_release, got"):
        load(DataConfig(dataset="livec", data_dir=tmp_path))


def test_kadid10k_takes_dmos_as_higher_is_better(tmp_path: Path) -> None:
    """In spite of the column's name, the faintest distortion is the best picture."""
    whole = read(tmp_path, "kadid10k").split("all")
    quality = dict(zip(whole.names, whole.target, strict=True))
    assert quality["I07_01_01.png"] > quality["I07_01_05.png"]


def test_kadid10k_and_spaq_name_the_columns_that_are_missing(tmp_path: Path) -> None:
    """A file with other columns is refused with what was expected and what it has."""
    table = pd.DataFrame({"file": ["a"], "rating": [1]})
    table.to_csv(tmp_path / "dmos.csv", index=False)
    (tmp_path / "Annotations").mkdir()
    sheet = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    table.to_excel(sheet, index=False)
    for dataset in ("kadid10k", "spaq"):
        with pytest.raises(ValueError, match=r"expected the columns .*, got file, rating\."):
            DATASETS[dataset](tmp_path, Options())


def test_a_workbook_is_read_alike(tmp_path: Path) -> None:
    """SPAQ's sheet goes the same way: letter case, decimal commas, and the row of a wrong cell."""
    (tmp_path / "Annotations").mkdir()
    path = tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx"
    sheet = pd.DataFrame({"IMAGE NAME": ["1.jpg", "2.jpg", "3.jpg"], "mos": [1 / 3, 50, "7,5"]})
    sheet.to_excel(path, index=False)
    with pytest.raises(ValueError, match=r"xlsx, line 4, column mos: expected one decimal mark"):
        DATASETS["spaq"](tmp_path, Options())
    sheet.assign(mos=[1 / 3, 50, 7.5]).to_excel(path, index=False)
    assert DATASETS["spaq"](tmp_path, Options()).table["mos"].tolist() == [1 / 3, 50.0, 7.5]
    sheet.assign(mos=[1 / 3, None, 7.5]).to_excel(path, index=False)
    with pytest.raises(ValueError, match=r"xlsx, line 3, column mos: .* got an empty cell"):
        DATASETS["spaq"](tmp_path, Options())


def test_tid2013_finds_names_in_another_case(tmp_path: Path) -> None:
    """The list says I02_01_1.bmp where the file is i02_01_1.bmp."""
    split = read(tmp_path, "tid2013").split("all")
    assert "I02_01_1.bmp" in split.names
    assert {path.name for path in split.paths} == {name.lower() for name in split.names}


@pytest.mark.parametrize("line", ["five i01_01_1.bmp", "5.5", "5.5 i01_01_1.bmp 1"])
def test_tid2013_names_the_line_that_is_no_rating(tmp_path: Path, line: str) -> None:
    """A line is a number and a name, nothing else."""
    (tmp_path / "mos_with_names.txt").write_text(f"5.1 i01_01_2.bmp\n\n{line}\n")
    with pytest.raises(ValueError, match=r"line 3: expected a rating and a name, got"):
        DATASETS["tid2013"](tmp_path, Options())


@pytest.mark.parametrize("dataset", ["kadid10k", "tid2013"])
def test_no_reference_is_on_two_sides(tmp_path: Path, dataset: str) -> None:
    """All distorted versions of a scene are in one split."""
    ratings = read(tmp_path, dataset)
    scenes = {
        name: {picture.split("_")[0].lower() for picture in split.names}
        for name, split in ratings.splits.items()
    }
    assert sum(len(of_split) for of_split in scenes.values()) == len(set().union(*scenes.values()))


@pytest.mark.parametrize(("n", "counts"), [(25, (18, 2, 5)), (81, (57, 8, 16)), (3, (2, 0, 1))])
def test_references_are_cut_at_70_and_80_percent(n: int, counts: tuple[int, ...]) -> None:
    """The published 25 and 81 references give these numbers on every machine."""
    split = split_by_reference(f"I{i:02d}" for i in range(n))
    assert tuple(split.count(name) for name in SPLITS) == counts


def test_the_split_by_reference_depends_on_the_references_alone() -> None:
    """Neither order nor letter case nor the number of versions moves a reference."""
    names = [f"i{i:02d}" for i in range(25)]
    once = dict(zip(names, split_by_reference(names), strict=True))
    many = [name.upper() for name in reversed(names) for _ in range(3)]
    assert split_by_reference(many) == [once[name.lower()] for name in many]
