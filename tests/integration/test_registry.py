"""The registry against a real MLflow store: versions, aliases, and who gets them."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
from iqa.network import checkpoint

from scripts import model_info, set_alias
from tests.conftest import make_checkpoint
from training.data import ratings
from training.data.config import DataConfig
from training.data.ratings import Split
from training.registry import model_versions, promotion, tracking

NO_PICTURES = Split(names=[], paths=[], target=np.zeros(0))


def register(folder: Path, srocc: float = 0.5, rmse: float = 20.0, digest: str = "b" * 64):
    """Register an untrained network that claims these validation metrics."""
    make_checkpoint(folder, srocc=srocc)
    card = checkpoint.load_card(folder)
    card["metrics"]["val"]["rmse_100"] = rmse
    card["data"]["digests"]["val"] = digest
    with mlflow.start_run():
        return promotion.register("iqa", None, folder, card)


@pytest.mark.usefixtures("store")
def test_a_downloaded_version_is_byte_for_byte_what_was_logged(tmp_path: Path) -> None:
    """What comes back from the registry is what went in."""
    registered = register(tmp_path / "in")
    assert registered.version == "1"
    folder = model_versions.download("iqa", "1", tmp_path / "out")
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


@pytest.mark.usefixtures("store")
def test_a_version_loads_as_a_pyfunc_with_signature_and_example(tmp_path: Path) -> None:
    """Anyone with MLflow can open a version: uint8 pixels in, quality out."""
    register(tmp_path / "in")
    model = mlflow.pyfunc.load_model("models:/iqa/1")
    pixels = np.zeros((2, 64, 96, 3), np.uint8)
    quality = model.predict({"pixels_NHWC": pixels})
    assert quality.shape == (2,)
    assert model.metadata.signature is not None
    assert model.metadata.saved_input_example_info is not None
    network, _ = checkpoint.load(tmp_path / "in")
    assert type(network).__name__ == "ImageNetwork"


@pytest.mark.usefixtures("store")
def test_a_missing_alias_names_the_command_that_sets_it(tmp_path: Path) -> None:
    """The error says what was expected, what was found and what to run."""
    register(tmp_path / "in")
    with pytest.raises(ValueError, match=r"alias 'staging' of model 'iqa': expected a model ver"):
        model_versions.resolve("iqa", "staging")
    with pytest.raises(ValueError, match=r"model 'iqa': expected a version, got '9'"):
        model_versions.get("iqa", "9")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("srocc", "rmse", "moves"),
    [
        (0.6, 10.2712346, True),
        (0.4, 5.0, False),
        (0.5, 10.0, True),
        (0.5, 10.2712346, False),
    ],
    ids=["better", "worse", "tie, lower error", "equal but for what a tag leaves out"],
)
def test_the_alias_moves_only_to_the_better_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], srocc: float, rmse: float, moves: bool
) -> None:
    """Validation SROCC decides, then RMSE_100; both numbers are printed either way."""
    holder = register(tmp_path / "a", rmse=10.2712346)
    assert promotion.promote_if_better("staging", holder, NO_PICTURES)
    challenger = register(tmp_path / "b", srocc, rmse)
    assert promotion.promote_if_better("staging", challenger, NO_PICTURES) is moves
    now = model_versions.resolve("iqa", "staging")
    assert str(now.version) == ("2" if moves else "1")
    said = capsys.readouterr().out
    assert f"SROCC {srocc:.4f}" in said
    assert "against SROCC 0.5000" in said
    if moves:
        assert now.tags["previous_staging"] == "1"
    else:
        assert "staging_refused" in model_versions.get("iqa", "2").tags


@pytest.mark.usefixtures("store")
def test_a_holder_measured_on_other_data_is_evaluated_on_the_new_pictures(
    tmp_path: Path, rated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A SROCC from other pictures is not compared: the holder is measured on the same ones."""
    val = ratings.load(DataConfig(data_dir=rated)).splits["val"]
    promotion.promote_if_better("staging", register(tmp_path / "a", srocc=0.99), NO_PICTURES)
    challenger = register(tmp_path / "b", srocc=0.98, digest=val.digest())
    assert promotion.promote_if_better("staging", challenger, val)
    assert "evaluated now on the same validation images" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_an_alias_is_moved_by_hand_in_each_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By number, by run, by the best of an experiment or of all; a dry run moves nothing."""
    tracking.select_experiment("first")
    register(tmp_path / "a", 0.7)
    tracking.select_experiment("second")
    second = register(tmp_path / "b", 0.6)
    run_id = model_versions.get("iqa", second.version).run_id
    assert run_id
    for arguments, expected in [
        (["2"], "2"),
        (["--best-of-all"], "1"),
        (["--run-id", run_id], "2"),
        (["--best-of", "first"], "1"),
        (["2", "--dry-run"], "1"),
    ]:
        assert set_alias.main(["iqa", *arguments]) == 0
        assert str(model_versions.resolve("iqa", "staging").version) == expected
    assert "would move staging: version 1 -> version 2" in capsys.readouterr().out
    assert model_versions.resolve("iqa", "staging").tags["previous_staging"] == "2"


@pytest.mark.usefixtures("store")
def test_only_versions_measured_on_the_newest_ones_pictures_are_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number from another validation set does not win, and is named as left out."""
    register(tmp_path / "a", 0.9)
    register(tmp_path / "b", 0.6, digest="d" * 64)
    register(tmp_path / "c", 0.5, digest="d" * 64)
    assert set_alias.main(["iqa", "--best-of-all"]) == 0
    assert str(model_versions.resolve("iqa", "staging").version) == "2"
    assert "than version 3: 1" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_a_holder_that_cannot_be_evaluated_keeps_the_alias(
    tmp_path: Path, rated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that nobody can compare with is not overtaken, and the run does not fail."""
    val = ratings.load(DataConfig(data_dir=rated)).splits["val"]
    first = register(tmp_path / "a")
    promotion.promote_if_better("staging", first, NO_PICTURES)
    stored = mlflow.artifacts.download_artifacts(
        f"models:/iqa/1/{model_versions.CHECKPOINT}/model.json"
    )
    card = Path(stored)
    card.write_text(card.read_text().replace("pillow bilinear", "pillow bicubic"))
    challenger = register(tmp_path / "b", srocc=0.98, digest=val.digest())
    assert not promotion.promote_if_better("staging", challenger, val)
    assert "which cannot be compared: preprocessing: expected" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_model_info_tells_what_an_alias_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version, run, metrics, data and time of one version, or a line for each."""
    registered = register(tmp_path / "a")
    model_versions.move_alias("iqa", "staging", registered.version, "by hand")
    assert model_info.main([]) == 0
    told = capsys.readouterr().out
    for word in ("iqa version 1", "staging", "val_srocc", "digest_val", "weights_sha256"):
        assert word in told
    assert model_info.main(["--all"]) == 0
    assert "mobilenet_v2" in capsys.readouterr().out
    assert model_info.main(["--version", "5"]) == 1


def test_a_version_from_before_the_moves_is_still_loaded(store: str, tmp_path: Path) -> None:
    """Its MLmodel names the loader where it lay then."""
    registered = register(tmp_path / "a")
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/iqa/{registered.version}"))
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    text = (older / "MLmodel").read_text()
    assert "loader_module: training.registry.flavor" in text
    text = text.replace("training.registry.flavor", "training.flavor")
    (older / "MLmodel").write_text(text)
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    assert mlflow.pyfunc.load_model(str(older)).predict(pixels).shape == (1,)
