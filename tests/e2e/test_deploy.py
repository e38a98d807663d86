"""Swaps, rollbacks, bad archives, killed syncs: a real TorchServe and a real MLflow server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
import torch
from iqa.network import checkpoint
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent

from benchmarks.reliability.mlflow_server import MlflowServer
from benchmarks.reliability.versions import (
    add_version,
    copy_archive,
    not_golden,
    put_on_record,
    unloadable,
)
from console.paths import ROOT
from scripts.archive import mar_file, published
from scripts.rollout import capacity, sync
from scripts.rollout.settings import Deployment
from scripts.server.state import StateDir
from tests.deploying import Command, Deployer, Load, Trap, wait_for
from tests.ports import free_port
from tests.quick import Quick
from tests.server import RunningServer
from training.registry import address, model_versions, promotion, tracking

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
SECRET = "a secret of the tests"


@pytest.fixture(scope="module")
def mlflow_server(
    empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    """An empty tracking server, on its way up."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copyfile(empty_store, folder / "server.db")
    started = MlflowServer(folder, free_port())
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def serving(
    mlflow_server: MlflowServer,
    quick: Quick,
    make_server: Callable[..., RunningServer],
    untrained: Path,
) -> Iterator[RunningServer]:
    """
    A second TorchServe with version 1 of a registry of its own.

    Version 2 is registered and has no archive yet; 3, 4 and 5 have theirs.
    """
    serving = make_server(mlflow_server.uri)
    serving.model_store.mkdir()
    shutil.copy(quick.archive, serving.model_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        mlflow_server.wait()
        address.connect()
        tracking.select_experiment("deployments")
        for made in (quick.checkpoint, untrained):
            with mlflow.start_run():
                promotion.register("iqa", None, made, checkpoint.load_card(made))
        put_on_record(serving.model_store, "1")
        model_versions.move_alias("iqa", "staging", "1", "test")
        for _ in range(3):
            add_version(serving.model_store)
        done = serving.run("--detach")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{serving.logs()}"
        yield serving


@pytest.fixture(scope="module")
def deploy(serving: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    """Runs `scripts.deploy` for that server."""
    before = dict(os.environ)
    environment = {**serving.environment, "IQA_WEBHOOK_SECRET": SECRET}
    yield Deployer(tmp_path_factory.mktemp("commands"), environment)
    os.environ.clear()
    os.environ.update(before)


def _stage(version: str) -> None:
    model_versions.move_alias("iqa", "staging", version, "test")


def _serve(deploy: Deployer, *versions: str) -> None:
    """Bring the server to versions, one after the other, whatever a test before left."""
    for version in versions:
        _stage(version)
        deploy.run("sync", "--retry", "--wait")


def _settle(deploy: Deployer) -> str:
    """Let the alias name what is served, so that nothing of a test before is left; return it."""
    version = str(deploy.status()["served_version"])
    _serve(deploy, version)
    return version


def _served(server: RunningServer) -> str:
    return str(server.score(PICTURE)["model"]["version"])


def _loaded(server: RunningServer) -> set[str]:
    return {entry["modelVersion"] for entry in server.manage("/all")}


def _load(server: RunningServer, per_s: float = 10) -> Load:
    return Load(server.url("INFERENCE_PORT", "/predictions/iqa"), PICTURE, per_s)


def test_the_first_sync_leaves_a_way_back_to_what_the_server_was_started_with(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The version of the start is proven, stays loaded, and is where a rollback leads."""
    assert not (serving.state_dir / "rollouts" / "iqa.json").exists()
    _stage("3")
    deploy.run("sync")
    assert deploy.status()["previous_version"] == "1"
    assert _loaded(serving) == {"1", "3"}
    assert "iqa version 1 is served again" in deploy.run("rollback").out
    assert _served(serving) == "1"


def test_a_swap_under_load_loses_no_request(serving: RunningServer, deploy: Deployer) -> None:
    """Every request before, during and after three swaps is answered 200, by one or the other."""
    _serve(deploy, "1")
    with _load(serving) as load:
        for version in ("3", "1", "3"):
            _stage(version)
            deploy.run("sync")
    answers = load.answers()
    assert [answer for answer in answers if answer.status != 200] == []
    assert {answer.version for answer in answers} == {"1", "3"}
    assert answers[-1].version == "3"
    assert _loaded(serving) == {"1", "3"}
    status = deploy.status()
    assert (status["alias_version"], status["served_version"]) == ("3", "3")
    assert (status["ready"], status["workers"], status["queue"]) == (True, 2, 0)
    assert (status["previous_version"], status["last_error"]) == ("1", None)


def test_versions_are_listed_with_what_they_are(serving: RunningServer, deploy: Deployer) -> None:
    """A line for each version: what is served, what the alias names, where a rollback leads."""
    lines = deploy.run("versions").out.splitlines()
    assert any(line.startswith("3 ") and "served, staging" in line for line in lines)
    assert any(line.startswith("1 ") and "where a rollback leads" in line for line in lines)


@pytest.mark.alone
def test_a_rollback_takes_less_than_five_seconds_under_load(
    serving: RunningServer, deploy: Deployer
) -> None:
    """From the command line to the first score of the old version; the alias moves along."""
    if deploy.status()["previous_version"] != "1":
        _serve(deploy, "1", "3")
    with _load(serving) as load:
        begin_s = time.monotonic()
        # As a person types it: the time to import counts.
        done = subprocess.run(
            [sys.executable, "-m", "scripts.deploy", "rollback", "--longest-request-s", "0.5"],
            cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "iqa version 1 is served again" in done.stdout
    answers = load.answers()
    assert [answer for answer in answers if answer.status != 200] == []
    first_s = min(answer.answered_s for answer in answers if answer.version == "1")
    assert first_s - begin_s < 5  # 2 s where nothing else runs (docs/reliability.md)
    assert str(model_versions.resolve("iqa", "staging").version) == "1"
    wait_for(lambda: _loaded(serving) == {"1"}, "the unloading behind")
    again = deploy.run("rollback", expected=1)
    assert "expected a good version before 1 on record" in again.err


def test_an_altered_archive_is_refused_until_a_retry_builds_it(
    serving: RunningServer, deploy: Deployer
) -> None:
    """A truncated archive: the old version serves, the new one waits, and --retry rebuilds it."""
    before = _settle(deploy)
    mar = serving.model_store / "iqa-2.mar"
    shutil.copyfile(serving.model_store / "iqa-1.mar", mar)
    put_on_record(serving.model_store, "2")
    with mar.open("r+b") as file:
        file.truncate(1_000_000)
    _stage("2")
    refused = deploy.run("sync", expected=1)
    assert "iqa-2.mar: expected sha256" in refused.err
    assert _served(serving) == before
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
    assert _served(serving) == "2"
    assert deploy.status()["last_error"] is None


def test_an_archive_of_the_right_length_and_one_wrong_byte_is_refused(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Only its sha256 tells, and it is asked before anything is loaded."""
    before = _settle(deploy)
    version = add_version(serving.model_store)
    with (serving.model_store / f"iqa-{version}.mar").open("r+b") as file:
        file.seek(500_000)
        (byte,) = file.read(1)
        file.seek(500_000)
        file.write(bytes((byte ^ 1,)))
    _stage(version)
    refused = deploy.run("sync", expected=1)
    assert f"iqa-{version}.mar: expected sha256" in refused.err
    assert "loading" not in refused.err
    assert _served(serving) == before
    assert version not in _loaded(serving)


def test_a_version_that_does_not_load_is_refused_with_its_own_words(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The exception of the worker is the reason, and nothing of the version stays loaded."""
    before = _settle(deploy)
    version = add_version(serving.model_store, unloadable)
    _stage(version)
    refused = deploy.run("sync", expected=1)
    assert "got one that said: ValueError: runtime: expected one of" in refused.err
    assert _served(serving) == before
    assert version not in _loaded(serving)
    _stage(before)  # the alias moves: the quarantine is lifted and the next sync converges
    deploy.run("sync")
    assert (_served(serving), deploy.status()["quarantine"]) == (before, None)


def test_a_failing_golden_picture_keeps_the_old_version(
    serving: RunningServer, deploy: Deployer
) -> None:
    """A version that does not reproduce its scores on record is unloaded before it serves."""
    before = _settle(deploy)
    version = add_version(serving.model_store, not_golden)
    _stage(version)
    refused = deploy.run("sync", expected=1)
    assert "to 0.05 of a point" in refused.err
    assert "The served network is not the proven one" in refused.err
    assert _served(serving) == before
    assert version not in _loaded(serving)


def test_a_version_that_fails_while_it_serves_is_rolled_back(
    serving: RunningServer, deploy: Deployer
) -> None:
    """5xx after the default was set: the old version serves again, by itself, and it is told."""
    before = _settle(deploy)

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
    _stage(version)
    with _load(serving):
        refused = deploy.run("sync", "--watch-s", "5", expected=1)
    assert f"default: version {before} -> version {version}" in refused.err
    # Whichever is noticed first: clients' answers, or a golden picture's.
    told = ("of answers to be 5xx", "expected a score, got 503: Prediction failed")
    assert any(words in refused.err for words in told)
    assert f"Version {before} serves again" in refused.err
    assert _served(serving) == before
    wait_for(lambda: version not in _loaded(serving), "the unloading behind")
    assert deploy.status()["quarantine"] == version


def test_a_foreign_version_is_refused_in_one_line_that_says_what_it_is(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Logged by mlflow.pytorch under our name: what serves stays, the version is quarantined."""
    before = _settle(deploy)
    with mlflow.start_run():
        info = mlflow.pytorch.log_model(
            torch.nn.Linear(1, 1), name="theirs", registered_model_name="iqa",
            serialization_format="pickle", pip_requirements=[],
        )  # fmt: skip
    version = str(info.registered_model_version)
    _stage(version)
    refused = deploy.run("sync", expected=1)
    lines = [line for line in refused.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert (
        f"version {version}: not built: model 'iqa' version {version}: expected the flavor iqa, as "
        "training.train logs it, got python_function, pytorch: another program logged it. Use a "
        "version that training.train registered"
    ) in lines[0]
    assert _served(serving) == before
    assert version not in _loaded(serving)
    status = deploy.status()
    assert (status["quarantine"], status["ready"]) == (version, True)
    assert not list(serving.model_store.glob(f"iqa-{version}*"))


def test_an_archive_that_is_replaced_while_it_loads_is_noticed(
    serving: RunningServer, deploy: Deployer, tmp_path: Path
) -> None:
    """Read once and loaded later: other bytes under the name by then are not served, nor blamed."""
    before = _settle(deploy)
    version = add_version(serving.model_store)
    mar = serving.model_store / f"iqa-{version}.mar"
    _stage(version)
    command = deploy.start("sync", trap=Trap(words=f": loading {mar.name}", folder=tmp_path))
    wait_for((tmp_path / "paused").exists, "the digest on record")
    other = mar.with_suffix(".other")
    shutil.copyfile(mar, other)
    os.replace(other, mar)  # the same bytes even, but nobody has looked at these
    (tmp_path / "go").touch()
    assert command.wait() == 1
    assert f"{mar.name}: expected the archive that was checked, got another one" in command.err
    assert (_served(serving), deploy.status()["quarantine"]) == (before, None)
    assert version not in _loaded(serving)
    deploy.run("sync")
    assert _served(serving) == version


def test_a_version_deleted_meanwhile_changes_nothing(
    serving: RunningServer, deploy: Deployer, tmp_path: Path
) -> None:
    """Deleted during a sync: the old version serves on, and the next alias is followed."""
    before = _settle(deploy)
    version = add_version(serving.model_store)
    _stage(version)
    command = deploy.start("sync", trap=Trap(words="golden pictures within", folder=tmp_path))
    wait_for((tmp_path / "paused").exists, "the golden pictures")
    mlflow.MlflowClient().delete_model_version("iqa", version)
    (tmp_path / "go").touch()
    assert command.wait() == 1
    assert "deleted meanwhile. What is served stays" in command.err
    assert (_served(serving), _loaded(serving) & {version}) == (before, set())
    nothing = deploy.run("sync", expected=1)
    assert "alias 'staging' of model 'iqa': expected a version, found none" in nothing.err
    _stage(before)
    deploy.run("sync")
    assert _served(serving) == before


def test_a_full_disk_leaves_the_old_version_and_no_quarantine(
    serving: RunningServer, deploy: Deployer
) -> None:
    """No room for the record or the archive: it is said, nothing changes, the next sync does it."""
    before = _settle(deploy)
    _stage("4")
    fresh = serving.state_dir / "rollouts" / "iqa.json.new"
    fresh.symlink_to("/dev/full")  # each write there fails as on a full disk
    full = deploy.run("sync", expected=1)
    fresh.unlink()
    assert "No space left on device" in full.err
    assert (_served(serving), deploy.status()["quarantine"]) == (before, None)
    mar = serving.model_store / "iqa-4.mar"
    kept = mar.rename(mar.with_suffix(".kept"))
    full = deploy.run("sync", expected=1, max_bytes=1_000_000)
    assert "Free the disk" in full.err
    assert (_served(serving), deploy.status()["quarantine"]) == (before, None)
    kept.rename(mar)
    deploy.run("sync")
    assert _served(serving) == "4"


def test_two_syncs_at_once_swap_once(serving: RunningServer, deploy: Deployer) -> None:
    """The second one waits, says for whom, and finds nothing left to do."""
    before = _settle(deploy)
    target = "5" if before != "5" else "3"
    _stage(target)
    commands = [deploy.start("sync"), deploy.start("sync")]
    assert [command.wait() for command in commands] == [0, 0]
    said = "".join(command.err for command in commands)
    assert said.count(f"default: version {before} -> version {target}") == 1
    assert "waiting for another sync, process " in said
    wait_for(lambda: _loaded(serving) == {before, target}, "the unloading behind")


@pytest.mark.parametrize(
    ("words", "delay_s"),
    [
        ("has the sha256 on record", 0.0),
        (": loading iqa-", 0.4),
        ("workers ready after", 0.0),
        ("golden pictures within", 0.0),
        ("default: version", 0.0),
        ("default: version", 0.7),
    ],
    ids=["archive found", "while it loads", "loaded", "proven", "default set", "watched"],
)
def test_a_killed_sync_is_finished_by_the_next_one(
    serving: RunningServer, deploy: Deployer, words: str, delay_s: float
) -> None:
    """SIGKILL at any step loses no request, and one more sync makes it so."""
    before = _served(serving)
    target = "3" if before != "3" else "5"
    if target in _loaded(serving):
        deploy.run("drain", "--version", target)
    _stage(target)
    with _load(serving, per_s=10) as load:
        killed = deploy.start("sync", "--watch-s", "2", trap=Trap(words=words, delay_s=delay_s))
        assert killed.wait() == -signal.SIGKILL, killed.err
        assert _served(serving) in (before, target)
        deploy.run("sync")
    load.expect_nothing_lost()
    assert _served(serving) == target
    wait_for(lambda: len(_loaded(serving)) <= 2, "the unloading behind")
    assert deploy.status()["served_version"] == target


def test_the_watch_follows_the_alias_by_webhook(serving: RunningServer, deploy: Deployer) -> None:
    """A signed webhook from MLflow wakes the watch long before its next look; TERM ends it."""
    before = _settle(deploy)
    target = "3" if before != "3" else "5"
    port = str(free_port())
    client = mlflow.MlflowClient()
    hook = client.create_webhook(
        "deploy", f"http://127.0.0.1:{port}/",
        [WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)],
        secret=SECRET,
    )  # fmt: skip
    watch = deploy.start("sync", "--watch", "--poll-s", "600", "--webhook-port", port)
    try:
        wait_for(lambda: f"iqa version {before} is served" in watch.err, "the first round")
        _stage(target)
        wait_for(lambda: _served(serving) == target, "the swap", wait_s=20)
        assert "webhook: staging of iqa moved" in watch.err
    finally:
        client.delete_webhook(hook.webhook_id)
        assert watch.terminate() == 0, watch.err
    assert _served(serving) == target


def test_the_watch_outlives_mlflow_and_a_hold_outlives_both(
    serving: RunningServer, deploy: Deployer, mlflow_server: MlflowServer
) -> None:
    """MLflow away: said once, serving goes on, a rollback holds; back: the alias is moved."""
    left = _settle(deploy)
    back = str(deploy.status()["previous_version"])
    watch = deploy.start("sync", "--watch", "--poll-s", "0.3")
    try:
        wait_for(lambda: f"version {left} is served" in watch.err, "the first round")
        mlflow_server.stop()
        wait_for(lambda: "expected an answer, got" in watch.err, "the loss of MLflow")
        rolled = deploy.run("rollback")
        assert "held until MLflow answers" in rolled.out
        time.sleep(1.5)  # some rounds
        assert _served(serving) == back
        assert watch.err.count("What is served stays") == 1
        assert deploy.status()["hold"] == f"rollback from version {left}"
        mlflow_server.start()
        wait_for(lambda: f"staging: version {left} -> version {back}" in watch.err, "the alias")
        assert (_served(serving), deploy.status()["alias_version"]) == (back, back)
        _stage(left)
        wait_for(lambda: _served(serving) == left, "the next swap")
        assert deploy.status()["hold"] is None
    finally:
        assert watch.terminate() == 0, watch.err


def test_the_watch_restores_what_a_restart_of_torchserve_forgot(
    serving: RunningServer, deploy: Deployer
) -> None:
    """
    Killed and started again: the good versions are back, the served one and the one before.

    The alias names a version that a deployment refused; the start does not serve it either.
    """
    good = _settle(deploy)
    before = str(deploy.status()["previous_version"])
    bad = add_version(serving.model_store, unloadable)
    _stage(bad)
    deploy.run("sync", expected=1)
    watch = deploy.start("sync", "--watch", "--poll-s", "0.3")
    try:
        wait_for(lambda: "is in quarantine" in watch.err, "the first round")
        for pid in serving.members():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "not now: " in watch.err, "the loss of TorchServe")
        assert serving.run("--stop").returncode == 0
        done = serving.run("--detach")
        assert done.returncode == 0, done.stderr
        assert f"version {bad} is not served: quarantined" in done.stderr
        assert _served(serving) == good
        wait_for(lambda: _loaded(serving) == {good, before}, "the version before")
    finally:
        assert watch.terminate() == 0, watch.err


def test_a_drain_ends_readiness_and_waits(serving: RunningServer, deploy: Deployer) -> None:
    """Of one version: it is unloaded, unless it serves. Of the server: idle, and not ready."""
    served = _settle(deploy)
    others = _loaded(serving) - {served}
    assert "got the default one" in deploy.run("drain", "--version", served, expected=1).err
    for other in others:
        deploy.run("drain", "--version", other)
    assert _loaded(serving) == {served}
    assert "idle: nothing waits" in deploy.run("drain").out
    assert deploy.status()["ready"] is False
    deploy.run("drain", "--end")
    assert deploy.status()["ready"] is True


def _behind(command: Command) -> int:
    """Return the id of the process that a command left behind."""
    return int(command.err.split("behind: process ")[1].split()[0])


def _wait_for_end(pid: int) -> None:
    """Wait until a process has ended, whether somebody has buried it or not."""

    def has_ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_for(has_ended, "the end of the process behind")


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _wait_for_end(pid)


def _retire(deploy: Deployer, longest_request_s: float) -> tuple[str, Command]:
    """Swap without a standby, so that the version before retires; return it and the command."""
    before = _settle(deploy)
    _stage("3" if before != "3" else "5")
    options = ("--no-standby", "--longest-request-s", str(longest_request_s))
    return before, deploy.run("sync", *options)


def test_a_sync_returns_once_it_serves_and_the_rest_is_done_behind(
    serving: RunningServer, deploy: Deployer
) -> None:
    """It says that the new version serves; the old one is unloaded later, and not too early."""
    with _load(serving) as load:
        left, command = _retire(deploy, 15)
        assert f"is served; version {left} was before" in command.out
        assert left in _loaded(serving)
        record = json.loads((serving.state_dir / "rollouts" / "iqa.json").read_text())
        retired_at_s = record["retired_at_s"][left]
        behind = _behind(command)
        assert os.getsid(behind) == behind  # no terminal can end it
        wait_for(lambda: deploy.status()["is_tidying"], "the process behind")
        told = deploy.run("status", "--longest-request-s", "15").out
        assert re.search(rf"version {left} is draining, unloaded in about \d+ s", told), told
        wait_for(lambda: left not in _loaded(serving), "the unloading behind")
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
    assert left in _loaded(serving)
    deploy.run("sync", "--no-standby", "--longest-request-s", "3", "--wait")
    assert left not in _loaded(serving)


def test_a_version_that_serves_again_while_it_drains_is_not_unloaded(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The process behind looks again, under the lock of syncs, before it unloads."""
    with _load(serving) as load:
        left, command = _retire(deploy, 5)
        behind = _behind(command)
        _stage(left)
        deploy.run("sync", "--longest-request-s", "5")
        _wait_for_end(behind)
    assert _served(serving) == left
    assert left in _loaded(serving)
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
    new = next(version for version in ("1", "3", "5") if version not in _loaded(serving))
    _stage(new)
    # The machine's memory is all that is not real here.
    free_memory_bytes = capacity.free_memory_bytes
    monkeypatch.setattr(
        capacity, "free_memory_bytes",
        lambda: 0 if left in _loaded(serving) else free_memory_bytes(),
    )  # fmt: skip
    with caplog.at_level("INFO"):
        assert f"iqa version {new} is served" in sync.sync(here)
    assert f"Waiting until version {left} is drained and unloaded" in caplog.text
    assert _served(serving) == new
    assert left not in _loaded(serving)


def test_a_sync_reads_the_archive_once(
    serving: RunningServer, deploy: Deployer, here: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first check to the record, a swap reads the bytes of the archive a single time."""
    _settle(deploy)
    version = add_version(serving.model_store)
    read: list[str] = []
    sha256_of = mar_file.sha256_of

    def counting(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(mar_file, "sha256_of", counting)
    _stage(version)
    sync.sync(here)
    assert read.count(f"iqa-{version}.mar") == 1
    sync.sync(here)  # nothing to do: nothing is read
    assert read.count(f"iqa-{version}.mar") == 1


def test_a_published_archive_is_taken_and_served_where_there_is_no_torch(
    serving: RunningServer, deploy: Deployer, quick: Quick, tmp_path: Path
) -> None:
    """Not before it is published, which is no fault of the version; then its bytes."""
    before = _settle(deploy)
    with mlflow.start_run():
        card = checkpoint.load_card(quick.checkpoint)
        version = promotion.register("iqa", None, quick.checkpoint, card).version
    mar = serving.model_store / f"iqa-{version}.mar"
    copy_archive(serving.model_store / "iqa-1.mar", mar, "iqa", version)
    put_on_record(serving.model_store, version)
    elsewhere = tmp_path / mar.name
    mar.rename(elsewhere)
    _stage(version)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")

    def replica() -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
        words = ["sync", "--from-registry", "--longest-request-s", "0.5", "--watch-s", "0.5"]
        return subprocess.run(
            [sys.executable, "-m", "scripts.deploy", *words, "--wait"], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    early = replica()
    assert early.returncode == 1 and "expected a published archive, got none" in early.stderr
    assert _served(serving) == before
    published.publish(model_versions.get("iqa", version), elsewhere)
    done = replica()
    assert done.returncode == 0, done.stderr
    assert "taken from the registry" in done.stderr
    assert mar.read_bytes() == elsewhere.read_bytes()
    assert _served(serving) == version
