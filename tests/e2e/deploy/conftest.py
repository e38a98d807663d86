"""One MLflow server and one TorchServe for all tests of deployments that a process runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from iqa.network import checkpoint

from benchmarks.reliability.mlflow_server import MlflowServer
from benchmarks.reliability.versions import add_version, put_on_record
from tests.deploying import Deployer
from tests.e2e.deploy.steps import SECRET
from tests.ports import free_port
from tests.quick import Quick
from tests.server import MakeServer, RunningServer
from training.registry import address, model_versions, promotion, tracking


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def serving(
    mlflow_server: MlflowServer,
    quick: Quick,
    make_shared_server: MakeServer,
    untrained: Path,
) -> Iterator[RunningServer]:
    """
    A second TorchServe with version 1 of a registry of its own.

    Version 2 is registered and has no archive yet; 3, 4 and 5 have theirs.
    """
    serving = make_shared_server(mlflow_server.uri)
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
        yield serving.start()


@pytest.fixture(scope="package")
def deploy(serving: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    """Runs `scripts.deploy` for that server."""
    before = dict(os.environ)
    environment = {**serving.environment, "IQA_WEBHOOK_SECRET": SECRET}
    yield Deployer(tmp_path_factory.mktemp("commands"), environment)
    os.environ.clear()
    os.environ.update(before)
