"""`training.demo_data`: a synthetic set in KonIQ-10k's layout, called synthetic everywhere."""

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from training import demo_data
from training.data import demo_sets, ratings
from training.data.config import DataConfig
from training.data.demo_images import PHOTOGRAPHS, PRISTINE, plan
from training.data.distortions import DISTORTIONS
from training.data.pseudo_mos import imagined_votes, pseudo_mos, similarity

PICTURES = 20


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest set, made once."""
    out = tmp_path_factory.mktemp("demo") / "set"
    assert demo_data.main(["--out", str(out), "--pictures", str(PICTURES)]) == 0
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_training_reads_it_as_koniq10k(demo: Path) -> None:
    """`ratings.load` accepts the set, and knows that it is not the official split."""
    loaded = ratings.load(DataConfig(dataset="koniq10k", data_dir=demo))
    assert sum(loaded.counts().values()) == PICTURES
    assert not loaded.is_official


def test_the_table_has_koniq10ks_columns_and_scales(demo: Path) -> None:
    """Columns, fractions that sum to 1, MOS on 0-100 and SD on 1-5 are as KonIQ-10k has them."""
    table = pd.read_csv(demo / demo_sets.RATINGS_FILE)
    votes = ["c1", "c2", "c3", "c4", "c5"]
    assert list(table) == ["image_name", *votes, "c_total", "MOS", "SD", "set"]
    assert np.allclose(table[votes].sum(axis=1), 1)
    assert table["MOS"].min() == 3.912 and table["MOS"].max() == 88.389
    assert table["SD"].between(0.1, 1.5).all()
    assert table["c_total"].between(93, 157).all()


def test_every_picture_is_a_512_x_384_jpeg(demo: Path) -> None:
    """Every row of the table has its file, of KonIQ-10k's size, and there are no others."""
    names = pd.read_csv(demo / demo_sets.RATINGS_FILE)["image_name"]
    files = {path.name for path in (demo / demo_sets.PICTURES_DIR).iterdir()}
    assert files == set(names)
    for name in names:
        with Image.open(demo / demo_sets.PICTURES_DIR / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (512, 384))


def test_it_says_everywhere_that_it_is_synthetic(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """README, file names, log line and help text all call the set synthetic."""
    readme = (demo / demo_sets.README_FILE).read_text()
    assert readme.startswith("SYNTHETIC")
    assert "never to be compared with published figures" in readme
    assert "seed 0" in readme
    table = pd.read_csv(demo / demo_sets.RATINGS_FILE)
    assert table["image_name"].str.startswith("synthetic-").all()
    with caplog.at_level(logging.INFO, logger="training.data.demo_sets"):
        demo_sets.make(demo, PICTURES)
    assert "synthetic" in caplog.text
    with pytest.raises(SystemExit):
        demo_data.main(["--help"])
    assert "synthetic" in capsys.readouterr().out


def test_a_complete_set_is_left_alone_and_another_one_is_replaced(
    demo: Path, tmp_path: Path
) -> None:
    """The same command twice writes nothing; another seed replaces pictures and ratings."""
    out = tmp_path / "set"
    shutil.copytree(demo, out)
    first, made_at = content(out), (out / demo_sets.RATINGS_FILE).stat().st_mtime_ns
    demo_sets.make(out, PICTURES)
    assert (out / demo_sets.RATINGS_FILE).stat().st_mtime_ns == made_at
    (out / "data" / "mine.txt").write_text("stays")
    demo_sets.make(out, PICTURES, seed=2)
    second = content(out)
    assert second.pop("data/mine.txt") == b"stays"
    assert len(second) == PICTURES + 2
    assert second[demo_sets.RATINGS_FILE] != first[demo_sets.RATINGS_FILE]


def test_an_interrupted_set_is_made_again_with_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    """Half a set is replaced, and what comes is what any run with that seed gives."""
    out = tmp_path / "set"
    (out / demo_sets.PICTURES_DIR).mkdir(parents=True)
    (out / demo_sets.README_FILE).write_text((demo / demo_sets.README_FILE).read_text())
    (out / demo_sets.PICTURES_DIR / "synthetic-00000-half.jpg").write_bytes(b"half")
    demo_sets.make(out, PICTURES)
    assert content(out) == content(demo)


def test_a_folder_with_other_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's folder stays as it is, and the message says what to do."""
    (tmp_path / "README.txt").write_text("KonIQ-10k, the real one")
    assert demo_data.main(["--out", str(tmp_path)]) == 1
    assert "Name another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pictures", "19"], "--pictures: expected at least 20, got 19."),
        (["--seed", "-1"], "--seed: expected at least 0, got -1."),
    ],
)
def test_impossible_numbers_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too few pictures and a negative seed give one line, status 1 and no folder."""
    assert demo_data.main(["--out", str(tmp_path / "set"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--out` naming a file is an error that names it."""
    (tmp_path / "file").touch()
    assert demo_data.main(["--out", str(tmp_path / "file")]) == 1
    assert "expected a folder, got the file" in capsys.readouterr().err


@pytest.mark.parametrize("pictures", [20, 21, 27, 33, 50, 109, 400])
def test_every_split_has_pictures_in_any_set(pictures: int) -> None:
    """At least two pictures a split, which is what training needs, in the smallest sets too."""
    counts = Counter(item.split for item in plan(pictures, seed=0))
    assert sum(counts.values()) == pictures
    assert min(counts[split] for split in ("training", "validation", "test")) >= 2


@pytest.mark.parametrize("pictures", [110, 400])
def test_every_split_has_every_kind_of_distortion(pictures: int) -> None:
    """From 110 pictures on all kinds and pristine pictures are in each split, 70/10/20."""
    plans = plan(pictures, seed=0)
    for split, share in {"training": 0.7, "validation": 0.1, "test": 0.2}.items():
        chosen = [item for item in plans if item.split == split]
        assert {item.kind for item in chosen} == {*DISTORTIONS, PRISTINE}
        assert len(chosen) / pictures == pytest.approx(share, abs=0.02)
    assert {item.scene for item in plans} == set(PHOTOGRAPHS)


def test_pseudo_mos_follows_the_similarities() -> None:
    """Higher similarity in all metrics is a higher rating, and ties share one."""
    similarities = np.array([[0.9, 0.99, 0.8], [0.5, 0.8, 0.4], [0.7, 0.9, 0.6], [0.7, 0.9, 0.6]])
    mos = pseudo_mos(similarities)
    assert mos[1] < mos[2] == mos[3] < mos[0]
    assert (mos[1], mos[0]) == (3.912, 88.389)


def test_similarity_of_a_picture_with_itself_is_one() -> None:
    """All three metrics give 1 for equal pictures and less for a distorted one."""
    image = Image.effect_noise((128, 96), 60).convert("RGB")
    assert similarity(image, image) == pytest.approx((1, 1, 1), abs=1e-4)
    worse = DISTORTIONS["gaussian_blur"](image, 5, np.random.default_rng(0))
    assert max(similarity(worse, image)) < 0.999


def test_imagined_votes_agree_roughly_with_the_mos() -> None:
    """The mean vote rises with the MOS and stays within half a point of what it stands for."""
    mos = np.linspace(4, 88, 40)
    votes = imagined_votes(mos, np.random.default_rng(0))
    mean_vote = sum(vote * votes[f"c{vote}"] for vote in range(1, 6))
    assert np.abs(mean_vote - (mos + 29.23) / 27.82).max() < 0.5
    assert np.corrcoef(mean_vote, mos)[0, 1] > 0.95
