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
from training.tasks.task_table import task_of_data

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


def test_a_folder_is_copied_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file as it is."""
    source, out = write(tmp_path / "source"), tmp_path / "out"
    assert prepared(source, out) == 0
    assert "'train': 90, 'val': 120, 'test': 24" in capsys.readouterr().out
    files = sorted(path.relative_to(source) for path in source.rglob("*.png"))
    assert files == sorted(path.relative_to(out) for path in out.rglob("*.png"))
    assert all((source / name).read_bytes() == (out / name).read_bytes() for name in files)


def test_what_training_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without images for a split nothing is trained."""
    (tmp_path / "source" / "train" / "dots").mkdir(parents=True)
    assert prepared(tmp_path / "source", tmp_path / "out") == 1
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("source", "expected nothing in"),
        (".", "expected nothing in"),
        ("source/inside", "expected a folder outside of"),
    ],
)
def test_nothing_that_is_there_is_replaced(
    out: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC deletes what a stage has made before; the stage itself deletes nothing."""
    source = write(tmp_path / "source")
    assert prepared(source, tmp_path / out) == 1
    assert said in capsys.readouterr().err
    assert len(list(tmp_path.rglob("*.png"))) == 234


def test_a_source_that_is_neither_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says where the place is written."""
    assert prepared(tmp_path / "nowhere", tmp_path / "out") == 1
    assert prepared(Path(__file__), tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.count("expected the folder of a data set, or training/demo_data.py") == 2
    assert prepared(write(tmp_path / "images"), tmp_path / "out", "--pictures", "30") == 1
    assert "--pictures: expected it with" in capsys.readouterr().err


def test_the_synthetic_set_is_made_where_its_program_is_the_source(tmp_path: Path) -> None:
    """As many pictures as asked for, read as training reads them."""
    out = tmp_path / "out"
    source = str(ROOT / prepare.SYNTHETIC)
    assert prepare.main(["--source", source, "--data-dir", str(out), "--pictures", "20"]) == 0
    assert len(list(out.rglob("*.jpg"))) == 20
