"""`training.demo_data --task handwriting`, and the data set `handwriting` that reads it."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import demo_data
from training.data import demo_lines, demo_sets, fonts, ratings
from training.data.class_datasets import handwriting
from training.data.config import DataConfig
from training.data.dataset_layouts import Options
from training.data.fonts import DESIGNS, HANDWRITTEN, PRINTED, Font, find_fonts, split_of_design
from training.loop import defaults
from training.tasks.task_table import CLASSES, task_of_data

PICTURES = 40
KINDS = {PRINTED, HANDWRITTEN}


def drawn_fonts() -> list[Font]:
    """Return the fonts of this machine; without enough of them the test is skipped."""
    try:
        return find_fonts()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest set, made once."""
    drawn_fonts()
    out = tmp_path_factory.mktemp("lines") / "set"
    command = ["--task", "handwriting", "--out", str(out), "--pictures", str(PICTURES)]
    assert demo_data.main(command) == 0
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def imagined(designs: int) -> list[Font]:
    """Return fonts of so many designs of each kind, two a design."""
    return [
        Font(kind=kind, design=f"{kind}-{n}", name=style, path=Path(f"{n}-{style}.ttf"))
        for kind in DESIGNS for n in range(designs) for style in ("Regular", "Bold")
    ]  # fmt: skip


@pytest.mark.parametrize("designs", [3, 5, 14])
def test_no_design_is_in_two_splits_and_every_split_has_both_kinds(designs: int) -> None:
    """Bold is where regular is; also in the smallest sets."""
    made = demo_lines.plan(400, 0, imagined(designs))
    splits_of: dict[tuple[str, str], set[str]] = {}
    for line in made:
        splits_of.setdefault((line.font.kind, line.font.design), set()).add(line.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    counts = Counter((line.split, line.font.kind) for line in made)
    assert set(counts) == {(split, kind) for split in ("train", "val", "test") for kind in KINDS}
    for split, share in {"train": 0.6, "val": 0.15, "test": 0.25}.items():
        for kind in KINDS:
            assert counts[split, kind] / 200 == pytest.approx(share, abs=0.06)


def test_a_design_stays_in_its_split_wherever_it_is_installed() -> None:
    """The order of the files does not matter."""
    found = imagined(6)
    assert split_of_design(found) == split_of_design(found[::-1])


def test_without_fonts_the_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the whole command; damaged and unknown fonts are none."""
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(demo_sets, "find_fonts", lambda: fonts.find_fonts([tmp_path]))
    assert demo_data.main(["--task", "handwriting", "--out", str(tmp_path / "set")]) == 1
    said = capsys.readouterr().err
    assert "expected at least 3 printed designs, got 0" in said
    assert "apt-get install --no-install-recommends fonts-cabin" in said
    assert not (tmp_path / "set").exists()


def test_training_reads_it_as_two_classes_of_its_own_name(lines: Path) -> None:
    """Three splits of 1024 x 256 grey JPEG; never called by the name of written lines."""
    config = DataConfig(dataset="handwriting", data_dir=lines)
    assert task_of_data(config) is CLASSES
    data = ratings.load(config, targets=CLASSES.targets)
    assert data.name == "handwriting-synthetic" and data.duplicates() == []
    assert data.facts == {"class_names": [PRINTED, HANDWRITTEN]}
    assert sum(data.counts().values()) == PICTURES and min(data.counts().values()) >= 4
    for split in data.splits.values():
        assert 0 < split.target.mean() < 1
        for path in split.paths:
            with Image.open(Path(str(path))) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "L", (1024, 256))
                pixels = np.asarray(image, dtype=float)
            assert pixels.std() > 4 and np.quantile(pixels, 0.5) > 120  # ink on lighter paper


def test_it_says_everywhere_that_it_is_synthetic(
    lines: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """README, file names, log line and help; and nothing is drawn twice."""
    readme = (lines / "README.txt").read_text()
    assert readme.startswith("SYNTHETIC TEXT LINES")
    assert "never compare it with a figure on CATMuS, CORTO" in readme
    assert all(path.name.startswith("synthetic-") for path in lines.rglob("*.jpg"))
    before = {path: path.stat().st_mtime_ns for path in lines.rglob("*")}
    with caplog.at_level(logging.INFO, logger="training.data.demo_sets"):
        demo_sets.make_lines(lines, PICTURES)
    assert "synthetic text lines are already there" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in lines.rglob("*")}
    with pytest.raises(SystemExit):
        demo_data.main(["--help"])
    assert "--task handwriting" in capsys.readouterr().out


def test_an_interrupted_set_is_made_again_with_the_same_bytes(lines: Path, tmp_path: Path) -> None:
    """What half of one left behind is gone."""
    out = tmp_path / "set"
    shutil.copytree(lines, out)
    (out / "README.txt").write_text(f"{demo_lines.MARK}\n")
    (out / "train" / PRINTED / "synthetic-99999-x.jpg").write_bytes(b"half")
    demo_sets.make_lines(out, PICTURES)
    assert content(out) == content(lines)


def test_folders_are_called_as_exports_call_them(tmp_path: Path) -> None:
    """Any of the known names, in any case; real lines have the data set's own name."""
    names = {"train": ("Printed", "Handwriting"), "validation": ("print", "MANUSCRIPT"),
             "test": ("printed", "handwritten")}  # fmt: skip
    for split, folders in names.items():
        for n, folder in enumerate(folders):
            (tmp_path / split / folder).mkdir(parents=True)
            for number in range(2):
                pixels = np.full((256, 1024), 90 * n + number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / folder / f"line{number}.png")
    layout = handwriting(tmp_path, Options())
    assert layout.name is None and set(layout.table["label"]) == KINDS
    assert Counter(layout.table["split"]) == {"train": 4, "val": 4, "test": 4}
    (tmp_path / "test" / "typed").mkdir()
    (tmp_path / "test" / "printed" / "line0.png").rename(tmp_path / "test" / "typed" / "a.png")
    with pytest.raises(ValueError, match=r"expected the 2 classes printed, handwritten, got typed"):
        CLASSES.targets(handwriting(tmp_path, Options()))


def test_the_defaults_start_from_imagenet() -> None:
    """At half of the sides, as the card will say; the backbone and its weights are the general."""
    stated = defaults.of_dataset("handwriting")
    assert stated["image_size"] == (512, 128) and stated["model_name"] == "handwriting"
    assert not {"backbone", "weights", "channels"} & set(stated)
