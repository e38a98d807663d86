"""The commands that fit the heads, on a small synthetic data set, and an archive with them."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from iqa.tasks.heads import Heads
from PIL import Image

from tests.images import photograph
from training import causes, familiarity
from training.data import unusual_photographs
from training.data.camera_damage import DAMAGE
from training.data.graphics import for_testing, for_training


@pytest.mark.parametrize("kind", [name for kinds in DAMAGE.values() for name in kinds])
def test_more_camera_damage_is_further_from_the_picture(kind: str) -> None:
    """Each kind at four strengths: further and further, and the argument is left alone."""
    image = Image.fromarray(photograph(320, 240))
    before = np.asarray(image).astype(float)
    damage = next(kinds[kind] for kinds in DAMAGE.values() if kind in kinds)
    errors = [
        np.square(np.asarray(damage(image, s, np.random.default_rng(0))) - before).mean()
        for s in (0.5, 1.5, 3.0, 5.0)
    ]
    assert errors[0] < errors[-1], errors
    # A messenger saves twice, and a second JPEG may hide what the first has done.
    assert kind == "messenger" or all(a < b for a, b in pairwise(errors)), errors
    assert np.array_equal(np.asarray(image), before)
    with pytest.raises(ValueError, match="strength: expected 0 to 5"):
        damage(image, 5.1, np.random.default_rng(0))


@pytest.mark.parametrize("kind", [*for_training.KINDS, *for_testing.KINDS])
def test_a_graphic_is_the_same_for_the_same_seed(kind: str) -> None:
    """RGB, both sides large enough to be scored, and no two alike."""
    draw = {**for_training.KINDS, **for_testing.KINDS}[kind]
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.mode == "RGB" and min(first.size) >= 64
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert first.size != other.size or not np.array_equal(np.asarray(first), np.asarray(other))


@pytest.mark.parametrize(
    "kind", [*unusual_photographs.FOR_TRAINING, *unusual_photographs.FOR_TESTING]
)
def test_an_unusual_photograph_is_the_same_for_the_same_seed(kind: str) -> None:
    """RGB, large enough to be scored, not flat, and the photograph it is made of stays."""
    make = {**unusual_photographs.FOR_TRAINING, **unusual_photographs.FOR_TESTING}[kind]
    image = Image.fromarray(photograph(240, 180))
    before = np.asarray(image).copy()
    first, again, other = (make(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.mode == "RGB" and min(first.size) >= 64
    assert np.asarray(first).std() > 1
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert first.size != other.size or not np.array_equal(np.asarray(first), np.asarray(other))
    assert np.array_equal(np.asarray(image), before)


def test_causes_are_fitted_into_a_checkpoint(
    untrained: Path, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card names the heads, the table and the plot are written, what is computed is kept."""
    folder = Path(shutil.copytree(untrained, tmp_path / "model"))
    tests = tmp_path / "tests"
    tests.mkdir()
    Image.fromarray(photograph(128, 96)).save(tests / "one.png")
    options = [
        "--checkpoint", str(folder), "--dataset", "koniq10k", "--data-dir", str(rated),
        "--pictures", "2", "--test-pictures", str(tests), "--features", str(tmp_path / "kept"),
        "--out", str(tmp_path / "out" / "causes.json"), "--well-rated", "0.2",
    ]  # fmt: skip
    assert causes.main(options) == 0
    card = json.loads((folder / "model.json").read_text())
    found = Heads.of_card(folder, card)
    assert found is not None and found.causes is not None
    assert set(found.causes.kinds) == {"blur", "noise", "compression"}
    assert "| gaussian blur | blur |" in capsys.readouterr().out
    for ending in ("json", "md", "png"):
        assert (tmp_path / "out" / f"causes.{ending}").stat().st_size > 100
    report = json.loads((tmp_path / "out" / "causes.json").read_text())
    assert set(report["with_text"]["causes"]) == set(report["causes"])
    kept = sorted((tmp_path / "kept").rglob("*.npz"))
    assert len(kept) == 4  # two photographs, one test picture without and with text over it
    times = [path.stat().st_mtime_ns for path in kept]
    assert causes.main(options) == 0  # nothing is computed again, and the fit is the same
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert json.loads((folder / "model.json").read_text()) == card


def test_familiarity_is_fitted_with_both_warnings(
    untrained: Path, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two outputs, two thresholds, a row of the table for each set, folders of one's own too."""
    folder = Path(shutil.copytree(untrained, tmp_path / "model"))
    for name in ("tests", "drawings", "odd"):
        (tmp_path / name).mkdir()
        Image.fromarray(photograph(128, 96)).save(tmp_path / name / "one.png")
    options = [
        "--checkpoint", str(folder), "--dataset", "koniq10k", "--data-dir", str(rated),
        "--pictures", "2", "--test-pictures", str(tmp_path / "tests"), "--well-rated", "0.2",
        "--features", str(tmp_path / "kept"), "--graphics", "1", "--unusual", "1", "--screens", "1",
        "--graphics-in", str(tmp_path / "drawings"), "--unusual-in", str(tmp_path / "odd"),
        "--out", str(tmp_path / "out" / "familiarity.json"),
    ]  # fmt: skip
    assert familiarity.main(options) == 0
    card = json.loads((folder / "model.json").read_text())
    found = Heads.of_card(folder, card)
    assert found is not None and found.familiarity is not None
    assert found.familiarity.network.outputs.shape[1] == 2
    assert 0 <= found.familiarity.not_a_photograph <= 1
    assert found.familiarity.unlike_training is not None
    assert 0 <= found.familiarity.unlike_training <= 1
    report = json.loads((tmp_path / "out" / "familiarity.json").read_text())
    rows = report["tests"]
    assert {"distorted", "fractal", "drawings", "tissue", "odd"} <= set(rows)
    assert {row["of"] for row in rows.values()} == {"photographs", "graphics", "unusual"}
    for side in ("photographs", "graphics", "unusual"):
        mine = [row for row in rows.values() if row["of"] == side]
        warned = sum(row["n"] * row["unlike_training"] for row in mine)
        assert report[side]["n"] == sum(row["n"] for row in mine)
        assert report[side]["unlike_training"] == pytest.approx(warned / report[side]["n"])
    assert "| odd | 1 |" in capsys.readouterr().out
