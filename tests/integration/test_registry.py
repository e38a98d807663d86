"""The registry against a real MLflow store: versions, aliases, and who gets them."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from pathlib import Path

import mlflow
import numpy as np
import pytest
from iqa.network import checkpoint

from console.command_line import TRACKING_VARIABLE
from scripts import model_info, register_pretrained, set_alias
from tests.registering import register
from training.data import ratings
from training.data.config import DataConfig
from training.data.ratings import Split
from training.registry import address, model_versions, promotion, tracking
from training.registry.availability import RegistryUnavailable

NO_PICTURES = Split(names=[], paths=[], target=np.zeros(0))


@pytest.mark.usefixtures("store")
def test_a_downloaded_version_is_byte_for_byte_what_was_logged(tmp_path: Path) -> None:
    """What comes back from the registry is what went in."""
    registered = register(tmp_path / "in")
    assert registered.version == "1"
    folder = model_versions.download("iqa", "1", tmp_path / "out")
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "in" / name).read_bytes()


@pytest.mark.parametrize("what", ["locked", "damaged"])
def test_a_database_that_cannot_be_read_is_a_registry_that_is_away(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start then serves what it knows, and a watch waits; commands say it in one line."""
    file = tmp_path / "mlflow.db"
    monkeypatch.setenv(TRACKING_VARIABLE, f"sqlite:///{file}?timeout=0.1")
    with contextlib.closing(sqlite3.connect(file)) as held:
        if what == "locked":
            held.execute("BEGIN EXCLUSIVE")
        else:
            file.write_bytes(random.Random(0).randbytes(20_000))
        address.connect(is_patient=False)
        for ask in (
            lambda: model_versions.holder_of("iqa", "staging"),
            lambda: model_versions.get("iqa", "1"),
            lambda: model_versions.has_versions("iqa"),
            lambda: model_versions.versions("iqa"),
            lambda: model_versions.move_alias("iqa", "staging", "1", "by hand"),
        ):
            with pytest.raises(RegistryUnavailable) as refused:
                ask()
            said = {"locked": "database is locked", "damaged": "file is not a database"}[what]
            assert f"expected an answer, got: {said}. Wait for the process" in str(refused.value)
            assert "\n" not in str(refused.value)
        assert set_alias.main(["iqa", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: registry sqlite:///")


@pytest.mark.usefixtures("store")
def test_each_model_of_the_environment_gets_its_shipped_version_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty registry, as compose finds it; a model of one's own waits to be trained."""
    monkeypatch.setenv("MODELS", "iqa,fashion_mnist@prod,portraits")
    assert register_pretrained.main(["--all", "--if-empty"]) == 0
    assert "portraits: no checkpoint is shipped under this name" in capsys.readouterr().out
    for name, alias in (("iqa", "staging"), ("fashion_mnist", "prod")):
        holder = model_versions.holder_of(name, alias)
        assert holder is not None and str(holder.version) == "1"
    assert not model_versions.has_versions("portraits")
    assert register_pretrained.main(["--all", "--if-empty"]) == 0
    assert capsys.readouterr().out.count("versions are there, nothing registered") == 2


@pytest.mark.usefixtures("store")
def test_the_fast_checkpoint_is_a_model_of_its_own_or_a_version_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name, or by --variant under any; the alias of the other keeps its holder."""
    assert register_pretrained.main(["--model-name", "iqa_fast"]) == 0
    for variant in ("full", "fast"):
        assert register_pretrained.main(["--variant", variant]) == 0
    holder = model_versions.holder_of("iqa", "staging")
    assert holder is not None and str(holder.version) == "1"
    wanted = ("iqa_fast", "1"), ("iqa", "1"), ("iqa", "2")
    folders = [model_versions.download(*one, tmp_path / "-".join(one)) for one in wanted]
    alone, full, fast = (checkpoint.load_card(folder) for folder in folders)
    assert alone["weights_sha256"] == fast["weights_sha256"] != full["weights_sha256"]
    assert register_pretrained.main(["--variant", "fast", "--all"]) == 1
    assert "--variant: expected one model, got --all." in capsys.readouterr().err


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
    told = capsys.readouterr().out
    assert "cannot be compared: model 'iqa' version 1: preprocessing: expected" in told


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


def test_the_address_of_mlflow_may_be_an_option(
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--tracking-uri wins over the environment variable, for this command and what it starts."""
    register(tmp_path / "a")
    elsewhere = tmp_path / "elsewhere.db"
    monkeypatch.setenv(TRACKING_VARIABLE, f"sqlite:///{elsewhere}")
    assert model_info.main(["--version", "1", "--tracking-uri", store]) == 0
    assert f"registry           {store}" in capsys.readouterr().out
    assert os.environ[TRACKING_VARIABLE] == store
    assert not elsewhere.exists()
