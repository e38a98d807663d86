"""The pipelines of dvc.yaml, as far as they can be read without DVC; and their first stage."""

from __future__ import annotations

import argparse
import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.paths import ROOT
from tests.labelled import write
from training import prepare
from training.data.config import add_options
from training.data.datasets import DATASETS
from training.loop import defaults
from training.loop.config import TrainConfig, train_config
from training.tasks.known import task_of_data

PIPELINES: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["pipelines"]


def words(options: dict[str, Any]) -> list[str]:
    """Return options as DVC unpacks them on a command line."""
    found = []
    for name, value in options.items():
        found.append(f"--{name}")
        found += map(str, value if isinstance(value, list) else [value])
    return found


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_each_pipeline_is_a_run_that_training_takes(name: str) -> None:
    """Its options exist and fit together, and its metric is one of its task's."""
    pipeline = PIPELINES[name]
    parser = argparse.ArgumentParser()
    add_options(parser, TrainConfig)
    config = train_config(
        defaults.parsed(parser, [*words(pipeline["data"]), *words(pipeline["train"])])
    )
    assert pipeline["data"]["dataset"] in DATASETS
    assert pipeline["metric"] == task_of_data(config).leading.key
    assert set(pipeline) == {"source", "prepare", "data", "train", "metric", "model"}


def test_every_code_that_a_stage_waits_for_exists() -> None:
    """A dependency that was renamed would make `dvc repro` fail."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == ["prepare", "train", "evaluate", "package"]
    code = {path for stage in stages.values() for path in stage["do"]["deps"] if "${" not in path}
    assert {"handler/iqa", "training/loop", "scripts/archive"} <= code
    assert [path for path in sorted(code) if not (ROOT / path).exists()] == []


def test_dvc_tells_nobody_and_has_no_remote_of_ours() -> None:
    """The committed configuration reports nothing; the address of a remote is the user's."""
    config = configparser.ConfigParser()
    config.read_string((ROOT / ".dvc" / "config").read_text().replace("    ", ""))
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"
    assert "remote" not in config["core"] and not [s for s in config.sections() if "remote" in s]


def prepared(source: Path, out: Path, *more: str) -> int:
    """Run the command on folders of classes."""
    return prepare.main(
        ["--source", str(source), "--dataset", "imagefolder", "--data-dir", str(out), *more]
    )


def test_a_folder_is_copied_and_replaces_the_last_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the source no longer has is gone from the copy as well."""
    source, out = write(tmp_path / "source"), tmp_path / "out"
    assert prepared(source, out) == 0
    assert "'train': 90, 'val': 120, 'test': 24" in capsys.readouterr().out
    gone = "train/dots/0.png"
    (source / gone).unlink()
    assert prepared(source, out) == 0
    assert not (out / gone).exists()
    assert (out / "train/dots/1.png").read_bytes() == (source / "train/dots/1.png").read_bytes()


def test_what_training_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without images for a split nothing is trained."""
    (tmp_path / "source" / "train" / "dots").mkdir(parents=True)
    assert prepared(tmp_path / "source", tmp_path / "out") == 1
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["source", "source/inside", "."])
def test_the_source_is_never_what_is_replaced(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that holds the source, or lies in it, is refused before anything is deleted."""
    source = write(tmp_path / "source")
    assert prepared(source, tmp_path / out) == 1
    assert "expected a folder apart from" in capsys.readouterr().err
    assert len(list(source.rglob("*.png"))) == 234


def test_a_source_that_is_neither_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says where the place is written."""
    assert prepared(tmp_path / "nowhere", tmp_path / "out") == 1
    assert prepared(Path(__file__), tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.count("expected the folder of a data set, or training/demo_data.py") == 2
    assert prepared(write(tmp_path / "source"), tmp_path / "out", "--pictures", "30") == 1
    assert "--pictures: expected it with" in capsys.readouterr().err


def test_the_synthetic_set_is_made_where_its_program_is_the_source(tmp_path: Path) -> None:
    """As many pictures as asked for, read as training reads them."""
    out = tmp_path / "out"
    source = str(ROOT / prepare.SYNTHETIC)
    assert prepare.main(["--source", source, "--data-dir", str(out), "--pictures", "20"]) == 0
    assert len(list(out.rglob("*.jpg"))) == 20
