"""`sync --watch`: by webhook, without MLflow, after a restart of TorchServe."""

from __future__ import annotations

import os
import signal
import time

import mlflow
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent

from benchmarks.reliability.mlflow_server import MlflowServer
from benchmarks.reliability.versions import (
    add_version,
    unloadable,
)
from tests.deploying import Deployer, wait_for
from tests.e2e.deploy.steps import SECRET, loaded, served, settle, stage, with_a_way_back
from tests.ports import free_port
from tests.server import RunningServer


def test_the_watch_follows_the_alias_by_webhook(serving: RunningServer, deploy: Deployer) -> None:
    """A signed webhook from MLflow wakes the watch long before its next look; TERM ends it."""
    before = settle(deploy)
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
        stage(target)
        wait_for(lambda: served(serving) == target, "the swap", wait_s=20)
        assert "webhook: staging of iqa moved" in watch.err
    finally:
        client.delete_webhook(hook.webhook_id)
        assert watch.terminate() == 0, watch.err
    assert served(serving) == target


def test_the_watch_outlives_mlflow_and_a_hold_outlives_both(
    serving: RunningServer, deploy: Deployer, mlflow_server: MlflowServer
) -> None:
    """MLflow away: said once, serving goes on, a rollback holds; back: the alias is moved."""
    left, back = with_a_way_back(deploy)
    watch = deploy.start("sync", "--watch", "--poll-s", "0.3")
    try:
        wait_for(lambda: f"version {left} is served" in watch.err, "the first round")
        mlflow_server.stop()
        wait_for(lambda: "expected an answer, got" in watch.err, "the loss of MLflow")
        rolled = deploy.run("rollback")
        assert "held until MLflow answers" in rolled.out
        time.sleep(1.5)  # some rounds
        assert served(serving) == back
        assert watch.err.count("What is served stays") == 1
        assert deploy.status()["hold"] == f"rollback from version {left}"
        mlflow_server.start()
        wait_for(lambda: f"staging: version {left} -> version {back}" in watch.err, "the alias")
        assert (served(serving), deploy.status()["alias_version"]) == (back, back)
        stage(left)
        wait_for(lambda: served(serving) == left, "the next swap")
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
    good, before = with_a_way_back(deploy)
    bad = add_version(serving.model_store, unloadable)
    stage(bad)
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
        assert served(serving) == good
        wait_for(lambda: loaded(serving) == {good, before}, "the version before")
    finally:
        assert watch.terminate() == 0, watch.err
