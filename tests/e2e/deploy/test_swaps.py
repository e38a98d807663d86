"""Swaps and rollbacks: a real TorchServe and a real MLflow server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from iqa.network import checkpoint

from benchmarks.reliability.versions import copy_archive, put_on_record
from console.paths import ROOT
from scripts.archive import archives_in_registry
from tests.deploying import Deployer, wait_for
from tests.e2e.deploy.steps import loaded, serve, served, settle, stage, under_load
from tests.quick import Quick
from tests.server import RunningServer
from training.registry import model_versions, promotion


def test_the_first_sync_leaves_a_way_back_to_what_the_server_was_started_with(
    serving: RunningServer, deploy: Deployer
) -> None:
    """The version of the start is proven, stays loaded, and is where a rollback leads."""
    if (serving.state_dir / "rollouts" / "iqa.json").exists():  # tests of another file were first
        stage("1")
        assert serving.run("--stop").returncode == 0
        shutil.rmtree(serving.state_dir / "rollouts")
        assert serving.run("--detach").returncode == 0
    stage("3")
    deploy.run("sync")
    assert deploy.status()["previous_version"] == "1"
    assert loaded(serving) == {"1", "3"}
    assert "iqa version 1 is served again" in deploy.run("rollback").out
    assert served(serving) == "1"


def test_a_swap_under_load_loses_no_request(serving: RunningServer, deploy: Deployer) -> None:
    """Every request before, during and after three swaps is answered 200, by one or the other."""
    serve(deploy, "1")
    with under_load(serving) as load:
        for version in ("3", "1", "3"):
            stage(version)
            deploy.run("sync")
    answers = load.answers()
    assert [answer for answer in answers if answer.status != 200] == []
    assert {answer.version for answer in answers} == {"1", "3"}
    assert answers[-1].version == "3"
    assert loaded(serving) == {"1", "3"}
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
        serve(deploy, "1", "3")
    with under_load(serving) as load:
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
    wait_for(lambda: loaded(serving) == {"1"}, "the unloading behind")
    again = deploy.run("rollback", expected=1)
    assert "expected a good version before 1 on record" in again.err


def test_two_syncs_at_once_swap_once(serving: RunningServer, deploy: Deployer) -> None:
    """The second one waits, says for whom, and finds nothing left to do."""
    before = settle(deploy)
    target = "5" if before != "5" else "3"
    stage(target)
    commands = [deploy.start("sync"), deploy.start("sync")]
    assert [command.wait() for command in commands] == [0, 0]
    said = "".join(command.err for command in commands)
    assert said.count(f"default: version {before} -> version {target}") == 1
    assert "waiting for another sync, process " in said
    wait_for(lambda: loaded(serving) == {before, target}, "the unloading behind")


def test_a_drain_ends_readiness_and_waits(serving: RunningServer, deploy: Deployer) -> None:
    """Of one version: it is unloaded, unless it serves. Of the server: idle, and not ready."""
    served = settle(deploy)
    others = loaded(serving) - {served}
    assert "got the default one" in deploy.run("drain", "--version", served, expected=1).err
    for other in others:
        deploy.run("drain", "--version", other)
    assert loaded(serving) == {served}
    assert "idle: nothing waits" in deploy.run("drain").out
    assert deploy.status()["ready"] is False
    deploy.run("drain", "--end")
    assert deploy.status()["ready"] is True


def test_a_published_archive_is_taken_and_served_where_there_is_no_torch(
    serving: RunningServer, deploy: Deployer, quick: Quick, tmp_path: Path
) -> None:
    """Not before it is published, which is no fault of the version; then its bytes."""
    before = settle(deploy)
    with mlflow.start_run():
        card = checkpoint.load_card(quick.checkpoint)
        version = promotion.register("iqa", None, quick.checkpoint, card).version
    mar = serving.model_store / f"iqa-{version}.mar"
    copy_archive(serving.model_store / "iqa-1.mar", mar, "iqa", version)
    put_on_record(serving.model_store, version)
    elsewhere = tmp_path / mar.name
    mar.rename(elsewhere)
    stage(version)
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
    assert served(serving) == before
    archives_in_registry.publish(model_versions.get("iqa", version), elsewhere)
    done = replica()
    assert done.returncode == 0, done.stderr
    assert "taken from the registry" in done.stderr
    assert mar.read_bytes() == elsewhere.read_bytes()
    assert served(serving) == version
