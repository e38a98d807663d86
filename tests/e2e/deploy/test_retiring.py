"""The version before retires behind a sync, and not too early."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from benchmarks.reliability.versions import (
    add_version,
)
from scripts.archive import mar_file
from scripts.rollout import capacity, sync
from scripts.rollout.settings import Deployment
from scripts.server.state import StateDir
from tests.deploying import Command, Deployer, wait_for
from tests.e2e.deploy.steps import loaded, served, settle, stage, under_load
from tests.server import RunningServer, running


def _behind(command: Command) -> int:
    """Return the id of the process that a command left behind."""
    return int(command.err.split("behind: process ")[1].split()[0])


def _wait_for_end(pid: int) -> None:
    """Wait until a process has ended, whether somebody has buried it or not."""
    wait_for(lambda: not running([pid]), "the end of the process behind")


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _wait_for_end(pid)


def _retire(deploy: Deployer, longest_request_s: float) -> tuple[str, Command]:
    """Swap without a standby, so that the version before retires; return it and the command."""
    before = settle(deploy)
    stage("3" if before != "3" else "5")
    options = ("--no-standby", "--longest-request-s", str(longest_request_s))
    return before, deploy.run("sync", *options)


def test_a_sync_returns_once_it_serves_and_the_rest_is_done_behind(
    serving: RunningServer, deploy: Deployer
) -> None:
    """It says that the new version serves; the old one is unloaded later, and not too early."""
    with under_load(serving) as load:
        left, command = _retire(deploy, 15)
        assert f"is served; version {left} was before" in command.out
        assert left in loaded(serving)
        record = json.loads((serving.state_dir / "rollouts" / "iqa.json").read_text())
        retired_at_s = record["retired_at_s"][left]
        behind = _behind(command)
        assert os.getsid(behind) == behind  # no terminal can end it
        wait_for(lambda: deploy.status()["is_tidying"], "the process behind")
        told = deploy.run("status", "--longest-request-s", "15").out
        assert re.search(rf"version {left} is draining, unloaded in about \d+ s", told), told
        wait_for(lambda: left not in loaded(serving), "the unloading behind")
        assert time.clock_gettime(time.CLOCK_MONOTONIC) - retired_at_s >= 15
        _wait_for_end(behind)
    load.expect_nothing_lost()
    assert deploy.status()["retired"] == {}
    assert f"version {left}: drained" in (serving.state_dir / "logs" / "tidy.log").read_text()


def test_what_a_killed_process_behind_left_is_done_by_the_next_sync(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Nobody is at it: `status` says so; one more sync with --wait returns with it unloaded."""
    left, command = _retire(deploy, 8)
    _kill(_behind(command))
    told = deploy.run("status", "--longest-request-s", "600").out
    assert f"version {left} is draining, unloaded by the next sync in about" in told
    assert left in loaded(serving)
    deploy.run("sync", "--no-standby", "--longest-request-s", "3", "--wait")
    assert left not in loaded(serving)


def test_a_version_that_serves_again_while_it_drains_is_not_unloaded(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The process behind looks again, under the lock of syncs, before it unloads."""
    with under_load(serving) as load:
        left, command = _retire(deploy, 5)
        behind = _behind(command)
        stage(left)
        deploy.run("sync", "--longest-request-s", "5")
        _wait_for_end(behind)
    assert served(serving) == left
    assert left in loaded(serving)
    load.expect_nothing_lost()


@pytest.fixture
def here(serving: RunningServer) -> Deployment:
    """What `scripts.deploy` would deploy, for a sync in this process."""
    return Deployment(
        server=serving.torchserve(),
        store=serving.model_store,
        state=StateDir.at(serving.state_dir),
        is_local=True,
        watch_s=0.5,
        longest_request_s=5.0,
    )


def test_a_sync_waits_for_the_memory_of_a_version_that_drains(
    serving: RunningServer,
    deploy: Deployer,
    here: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No room while the retired version is loaded: it waits, and does not fail."""
    left, command = _retire(deploy, 5)
    _kill(_behind(command))
    new = next(version for version in ("1", "3", "5") if version not in loaded(serving))
    stage(new)
    # The machine's memory is all that is not real here.
    free_memory_bytes = capacity.free_memory_bytes
    monkeypatch.setattr(
        capacity, "free_memory_bytes",
        lambda: 0 if left in loaded(serving) else free_memory_bytes(),
    )  # fmt: skip
    with caplog.at_level("INFO"):
        assert f"iqa version {new} is served" in sync.sync(here)
    assert f"Waiting until version {left} is drained and unloaded" in caplog.text
    assert served(serving) == new
    assert left not in loaded(serving)


def test_a_sync_reads_the_archive_once(
    serving: RunningServer, deploy: Deployer, here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first check to the record, a swap reads the bytes of the archive a single time."""
    settle(deploy)
    version = add_version(serving.model_store)
    read: list[str] = []
    sha256_of = mar_file.sha256_of

    def counting(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(mar_file, "sha256_of", counting)
    stage(version)
    sync.sync(here)
    assert read.count(f"iqa-{version}.mar") == 1
    sync.sync(here)  # nothing to do: nothing is read
    assert read.count(f"iqa-{version}.mar") == 1
