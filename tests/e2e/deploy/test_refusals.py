"""Versions that are refused, before they serve or while: the old one stays."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import mlflow
import torch

from benchmarks.reliability.versions import (
    add_version,
    not_golden,
    put_on_record,
    unloadable,
)
from tests.deploying import Deployer, Trap, wait_for
from tests.e2e.deploy.steps import loaded, served, settle, stage, under_load
from tests.server import RunningServer


def test_an_altered_archive_is_refused_until_a_retry_builds_it(
    serving: RunningServer, deploy: Deployer
) -> None:
    """A truncated archive: the old version serves, the new one waits, and --retry rebuilds it."""
    before = settle(deploy)
    mar = serving.model_store / "iqa-2.mar"
    shutil.copyfile(serving.model_store / "iqa-1.mar", mar)
    put_on_record(serving.model_store, "2")
    with mar.open("r+b") as file:
        file.truncate(1_000_000)
    stage("2")
    refused = deploy.run("sync", expected=1)
    assert "iqa-2.mar: expected sha256" in refused.err
    assert served(serving) == before
    begin_s = time.monotonic()
    again = deploy.run("sync", expected=1)
    assert "version 2 is in quarantine until the alias moves" in again.err
    assert time.monotonic() - begin_s < 3
    status = deploy.status()
    assert status["quarantine"] == "2"
    assert "expected sha256" in status["last_error"]
    built = deploy.run("sync", "--retry")
    assert "put aside as iqa-2.refused" in built.err
    assert "proven with openvino" in built.err
    assert served(serving) == "2"
    assert deploy.status()["last_error"] is None


def test_an_archive_of_the_right_length_and_one_wrong_byte_is_refused(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Only its sha256 tells, and it is asked before anything is loaded."""
    before = settle(deploy)
    version = add_version(serving.model_store)
    with (serving.model_store / f"iqa-{version}.mar").open("r+b") as file:
        file.seek(500_000)
        (byte,) = file.read(1)
        file.seek(500_000)
        file.write(bytes((byte ^ 1,)))
    stage(version)
    refused = deploy.run("sync", expected=1)
    assert f"iqa-{version}.mar: expected sha256" in refused.err
    assert "loading" not in refused.err
    assert served(serving) == before
    assert version not in loaded(serving)


def test_a_version_that_does_not_load_is_refused_with_its_own_words(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The exception of the worker is the reason, and nothing of the version stays loaded."""
    before = settle(deploy)
    version = add_version(serving.model_store, unloadable)
    stage(version)
    refused = deploy.run("sync", expected=1)
    assert "got one that said: ValueError: runtime: expected one of" in refused.err
    assert served(serving) == before
    assert version not in loaded(serving)
    stage(before)  # the alias moves: the quarantine is lifted and the next sync converges
    deploy.run("sync")
    assert (served(serving), deploy.status()["quarantine"]) == (before, None)


def test_a_failing_golden_picture_keeps_the_old_version(
    serving: RunningServer, deploy: Deployer
) -> None:
    """A version that does not reproduce its scores on record is unloaded before it serves."""
    before = settle(deploy)
    version = add_version(serving.model_store, not_golden)
    stage(version)
    refused = deploy.run("sync", expected=1)
    assert "to 0.05 of a point" in refused.err
    assert "The served network is not the proven one" in refused.err
    assert served(serving) == before
    assert version not in loaded(serving)


def test_a_version_that_fails_while_it_serves_is_rolled_back(
    serving: RunningServer, deploy: Deployer
) -> None:
    """5xx after the default was set: the old version serves again, by itself, and it is told."""
    before = settle(deploy)

    def tire(name: str, content: bytes) -> bytes:
        if name != "iqa_handler.py":
            return content
        return content + (
            b"\n\n_handle = IQAHandler.handle\n_rows = []\n\n\n"
            b"def _tire(self, data, context):\n"
            b"    _rows.extend(data)\n"
            b"    if len(_rows) > 8:\n"
            b"        raise RuntimeError('tired')\n"
            b"    return _handle(self, data, context)\n\n\n"
            b"IQAHandler.handle = _tire\n"
        )

    version = add_version(serving.model_store, tire)
    stage(version)
    with under_load(serving):
        refused = deploy.run("sync", "--watch-s", "5", expected=1)
    assert f"default: version {before} -> version {version}" in refused.err
    # Whichever is noticed first: clients' answers, or a golden picture's.
    told = ("of answers to be 5xx", "expected a score, got 503: Prediction failed")
    assert any(words in refused.err for words in told)
    assert f"Version {before} serves again" in refused.err
    assert served(serving) == before
    wait_for(lambda: version not in loaded(serving), "the unloading behind")
    assert deploy.status()["quarantine"] == version


def test_a_foreign_version_is_refused_in_one_line_that_says_what_it_is(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Logged by mlflow.pytorch under our name: what serves stays, the version is quarantined."""
    before = settle(deploy)
    with mlflow.start_run():
        info = mlflow.pytorch.log_model(
            torch.nn.Linear(1, 1), name="theirs", registered_model_name="iqa",
            serialization_format="pickle", pip_requirements=[],
        )  # fmt: skip
    version = str(info.registered_model_version)
    stage(version)
    refused = deploy.run("sync", expected=1)
    lines = [line for line in refused.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert (
        f"version {version}: not built: model 'iqa' version {version}: expected the flavor iqa, as "
        "training.train logs it, got python_function, pytorch: another program logged it. Use a "
        "version that training.train registered"
    ) in lines[0]
    assert served(serving) == before
    assert version not in loaded(serving)
    status = deploy.status()
    assert (status["quarantine"], status["ready"]) == (version, True)
    assert not list(serving.model_store.glob(f"iqa-{version}*"))


def test_an_archive_that_is_replaced_while_it_loads_is_noticed(
    serving: RunningServer, deploy: Deployer, tmp_path: Path
) -> None:
    """Read once and loaded later: other bytes under the name by then are not served, nor blamed."""
    before = settle(deploy)
    version = add_version(serving.model_store)
    mar = serving.model_store / f"iqa-{version}.mar"
    stage(version)
    command = deploy.start("sync", trap=Trap(words=f": loading {mar.name}", folder=tmp_path))
    wait_for((tmp_path / "paused").exists, "the digest on record")
    other = mar.with_suffix(".other")
    shutil.copyfile(mar, other)
    os.replace(other, mar)  # the same bytes even, but nobody has looked at these
    (tmp_path / "go").touch()
    assert command.wait() == 1
    assert f"{mar.name}: expected the archive that was checked, got another one" in command.err
    assert (served(serving), deploy.status()["quarantine"]) == (before, None)
    assert version not in loaded(serving)
    deploy.run("sync")
    assert served(serving) == version


def test_a_version_deleted_meanwhile_changes_nothing(
    serving: RunningServer, deploy: Deployer, tmp_path: Path
) -> None:
    """Deleted during a sync: the old version serves on, and the next alias is followed."""
    before = settle(deploy)
    version = add_version(serving.model_store)
    stage(version)
    command = deploy.start("sync", trap=Trap(words="golden pictures within", folder=tmp_path))
    wait_for((tmp_path / "paused").exists, "the golden pictures")
    mlflow.MlflowClient().delete_model_version("iqa", version)
    (tmp_path / "go").touch()
    assert command.wait() == 1
    assert "deleted meanwhile. What is served stays" in command.err
    assert (served(serving), loaded(serving) & {version}) == (before, set())
    nothing = deploy.run("sync", expected=1)
    assert "alias 'staging' of model 'iqa': expected a version, found none" in nothing.err
    stage(before)
    deploy.run("sync")
    assert served(serving) == before


def test_a_full_disk_leaves_the_old_version_and_no_quarantine(
    serving: RunningServer, deploy: Deployer
) -> None:
    """No room for the record or the archive: it is said, nothing changes, the next sync does it."""
    before = settle(deploy)
    stage("4")
    fresh = serving.state_dir / "rollouts" / "iqa.json.new"
    fresh.symlink_to("/dev/full")  # each write there fails as on a full disk
    full = deploy.run("sync", expected=1)
    fresh.unlink()
    assert "No space left on device" in full.err
    assert (served(serving), deploy.status()["quarantine"]) == (before, None)
    mar = serving.model_store / "iqa-4.mar"
    kept = mar.rename(mar.with_suffix(".kept"))
    full = deploy.run("sync", expected=1, max_bytes=1_000_000)
    assert "Free the disk" in full.err
    assert (served(serving), deploy.status()["quarantine"]) == (before, None)
    kept.rename(mar)
    deploy.run("sync")
    assert served(serving) == "4"
