"""What DVC has on record of a file: the stages behind it, and nothing outside `dvc repro`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from training.loop.training_run import keep_lock
from training.registry import dvc_lock

MADE = {
    "prepare@one": {
        "cmd": "prepare", "deps": [{"path": "data/one", "md5": "00.dir"}],
        "outs": [{"path": "build/one/data", "md5": "11.dir"}],
    },
    "train@one": {
        "cmd": "train", "deps": [{"path": "build/one/data", "md5": "11.dir"}],
        "outs": [{"path": "build/one/run", "md5": "22.dir"}],
    },
    "evaluate@one": {
        "cmd": "evaluate",
        "deps": [{"path": "build/one/run", "md5": "22.dir"}, {"path": "build/one/data"}],
        "outs": [{"path": "build/one/metrics.json", "md5": "33"}],
    },
    "prepare@two": {"cmd": "other", "outs": [{"path": "build/two/data", "md5": "44.dir"}]},
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lock, and the environment of a stage that runs in it."""
    lock = yaml.safe_dump({"schema": "2.0", "stages": MADE}, sort_keys=False)
    (tmp_path / "dvc.lock").write_text(lock)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_STAGE", "train@one")
    return tmp_path


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("path", "hash", "stages"),
    [
        ("build/one/data", "11.dir", ["prepare@one"]),
        ("build/one/data/images", "11.dir", ["prepare@one"]),
        ("build/one/run", "22.dir", ["prepare@one", "train@one"]),
        ("build/one/metrics.json", "33", ["evaluate@one", "prepare@one", "train@one"]),
        ("build/two/data", "44.dir", ["prepare@two"]),
    ],
)
def test_a_file_has_the_stages_behind_it_and_no_other(
    path: str, hash: str, stages: list[str]
) -> None:
    """What came later, and what belongs to another pipeline, is left out."""
    found = dvc_lock.origin_of(Path(path))
    assert found is not None
    assert found.hash == hash
    assert list(yaml.safe_load(found.lock)["stages"]) == stages
    assert yaml.safe_load(found.lock)["stages"][stages[0]] == MADE[stages[0]]
    assert dvc_lock.tags(Path(path)) == {"dvc_data_hash": hash}


@pytest.mark.usefixtures("root")
def test_other_stages_in_the_lock_change_nothing(root: Path) -> None:
    """The same file has the same text, whichever pipelines have run."""
    before = dvc_lock.origin_of(Path("build/one/run"))
    turned = dict(reversed([item for item in MADE.items() if item[0] != "prepare@two"]))
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": turned}, sort_keys=False))
    assert dvc_lock.origin_of(Path("build/one/run")) == before


def test_what_no_stage_made_has_no_origin(root: Path) -> None:
    """Neither a folder of the user's own, nor anything before the first lock is written."""
    assert dvc_lock.origin_of(Path("data/one")) is None
    (root / "dvc.lock").unlink()
    assert dvc_lock.origin_of(Path("build/one/data")) is None


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["DVC_ROOT", "DVC_STAGE"])
def test_outside_dvc_the_lock_is_not_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that lies about says nothing of files that DVC did not check."""
    monkeypatch.delenv(name)
    assert dvc_lock.origin_of(Path("build/one/data")) is None
    assert dvc_lock.tags(Path("build/one/data")) == {}


def test_a_run_outside_dvc_keeps_no_lock_of_the_run_before(tmp_path: Path) -> None:
    """A folder that is trained in again by hand does not tell of another run's data."""
    trainer: Any = SimpleNamespace(best=tmp_path)
    config: Any = SimpleNamespace(data_dir=tmp_path / "data")
    (tmp_path / "dvc.lock").write_text("of a run of DVC")
    for _ in range(2):  # the second time there is none
        keep_lock(trainer, config)
        assert not (tmp_path / "dvc.lock").exists()
