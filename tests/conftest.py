"""Fixtures for all tests: a small checkpoint, an MLflow store, rated pictures, one real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from console.paths import ROOT
from tests.ports import free_ports
from tests.server import SECRETS, MakeServer, RunningServer
from tests.shared import made_once

if TYPE_CHECKING:
    from tests.quick import Quick

# Torch and MLflow are imported where they are used: the process of pytest-xdist that only hands
# out tests needs neither.
# Programs, a package of an environment of its own, and fonts to draw handwriting with.
PROGRAMS = ("cc", "chromium", "dvc", "nginx", "prometheus", "promtool", "ray", "wrk")
MAY_SKIP = (
    "KONIQ_LABELS",
    "fonts: expected at least",
    *(f"{program} is not installed" for program in PROGRAMS),
)
pytest_plugins = ("tests.turns", "tests.file_order")
ARCHIVE = "iqa-1.mar"
MEASURED = {
    "srocc": 0.5, "plcc": 0.5, "krocc": 0.4, "mae": 0.1, "rmse": 0.2,
    "mae_100": 10.0, "rmse_100": 20.0, "n": 10.0, "srocc_ci95": [0.4, 0.6],
}  # fmt: skip


def pytest_configure() -> None:
    """
    Let torch compute in one thread, here and in each command that a test runs.

    On a machine whose cores are busy a second thread waits for the first, and it waits by
    computing: a training run of a test took 56 s with two, 33 s with one.
    """
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A skip is a failure, but for a label file and for programs that not everybody has."""
    report = yield
    if report.skipped and not any(reason in str(report.longrepr) for reason in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr}"
    return report


def make_checkpoint(
    directory: Path, seed: int = 0, srocc: float = 0.5, area_px: int | None = None
) -> Path:
    """Write a checkpoint of an untrained MobileNetV2, with a complete card."""
    import torch
    from iqa.imaging.preprocessing import DEFAULT, with_area
    from iqa.network import checkpoint
    from iqa.network.model import ImageNetwork

    torch.manual_seed(seed)
    network = ImageNetwork("mobilenet_v2").eval()
    metrics = {**MEASURED, "srocc": srocc}
    facts = {
        "metrics": {"val": metrics, "test": metrics},
        "data": {
            "dataset": "none",
            "mos_range": [0.0, 100.0],
            "is_official_split": False,
            "counts": {"train": 10, "val": 10, "test": 10},
            "digests": {"train": "a" * 64, "val": "b" * 64, "test": "c" * 64},
        },
        "training": {"git_commit": "0" * 40},
    }
    policy = DEFAULT if area_px is None else with_area(area_px)
    checkpoint.save(directory, network, facts, policy=policy)
    return directory


@pytest.fixture(scope="session", autouse=True)
def _plain_cpu() -> Iterator[None]:
    """With WITHOUT_BF16 in the environment, OpenVINO's part of `make test-avx2`."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("WITHOUT_BF16"):  # oneDNN inside OpenVINO takes no limit
            from iqa.network import runtime

            patch.setattr(runtime, "has_bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that nobody trained, with an input so small that it takes milliseconds."""
    return make_checkpoint(tmp_path_factory.mktemp("untrained"), area_px=96 * 96)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables and nothing in them: making them takes seconds."""

    def make(folder: Path) -> None:
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder / 'empty.db'}")
        mlflow.search_experiments()

    return made_once(tmp_path_factory, "empty-store", make) / "empty.db"


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty MLflow store of the test's own, connected; its URI."""
    from training.registry import address, tracking

    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    address.connect()
    tracking.select_experiment("tests")  # the active one is a global, and was another test's
    return uri


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty synthetic rated pictures in KonIQ-10k's layout."""
    from training.data import demo_sets

    made = made_once(tmp_path_factory, "rated", lambda folder: demo_sets.make(folder / "data", 60))
    return made / "data"


@contextmanager
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Prepare servers with ports, store and state of their own; none outlives the block."""
    made: list[RunningServer] = []

    def make(uri: str | None = None, model_store: Path | None = None) -> RunningServer:
        folder = tmp_path_factory.mktemp("server")
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            **free_ports(),
            "WORKERS": "2",
            "IQA_STATE_DIR": str(folder / "state"),
            "MLFLOW_TRACKING_URI": uri or f"sqlite:///{folder / 'mlflow.db'}",
        }
        server = RunningServer(ROOT, model_store or folder / "model-store", environment)
        made.append(server)
        return server

    try:
        yield make
    finally:
        for server in made:
            server.kill()


@pytest.fixture(scope="module")
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Prepare servers of one file's own; those that still run end with it."""
    with _servers(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def make_shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Prepare servers that several files share; they end with the run."""
    with _servers(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Quick:
    """A version whose request takes milliseconds, with its archive and its registry."""
    from tests.quick import Quick, make

    return Quick.at(made_once(tmp_path_factory, "quick", lambda folder: make(folder, empty_store)))


@pytest.fixture(scope="session")
def shipped(
    make_shared_server: MakeServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The shipped model's archive and registry, as the first start on a fresh machine made them."""

    def first_start(folder: Path) -> None:
        server = make_shared_server().start()
        shutil.copyfile(server.model_store / ARCHIVE, folder / ARCHIVE)
        registry = server.environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
        shutil.copyfile(registry, folder / "mlflow.db")
        assert server.run("--stop").returncode == 0

    made = made_once(tmp_path_factory, "first-start", first_start)
    return made / ARCHIVE, made / "mlflow.db"


@pytest.fixture(scope="session")
def server(make_shared_server: MakeServer, shipped: tuple[Path, Path]) -> RunningServer:
    """The shipped model, served by TorchServe alone: one server for all tests that mean that."""
    return make_shared_server().take(*shipped).start("--no-front")


@pytest.fixture(scope="session")
def fronted(make_shared_server: MakeServer, shipped: tuple[Path, Path]) -> RunningServer:
    """The same as it is served by default, behind the front; there are secrets at its start."""
    fronted = make_shared_server().take(*shipped)
    fronted.environment |= SECRETS
    return fronted.start()


@pytest.fixture(scope="session", params=["torchserve", "front"])
def door(request: pytest.FixtureRequest, server: RunningServer) -> RunningServer:
    """TorchServe's own port, and the front's."""
    if request.param == "torchserve":
        return server
    fronted: RunningServer = request.getfixturevalue("fronted")
    return fronted


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project as a person would."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
