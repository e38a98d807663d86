"""
The system under test, as it runs in production, on one machine and with an MLflow of its own.

MLflow's server, TorchServe as `scripts/run_torchserve.sh` starts it in the foreground, and
`scripts.deploy sync --watch` beside it, woken by MLflow's webhook.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import mlflow
import psutil
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent

from benchmarks.load import Request
from benchmarks.peers.launches import ROOT, raw
from benchmarks.peers.processes import MarkedProcesses, plain_environment
from benchmarks.reliability.mlflow_server import MlflowServer
from benchmarks.reliability.versions import put_on_record
from benchmarks.sent_pictures import SMALL, make
from scripts.server.addresses import Addresses, Ports
from scripts.server.client import TorchServe, ready_workers
from scripts.server.http_client import NotNow
from training.registry import model_versions
from training.registry.address import connect

Record = dict[str, Any]

FIRST: Final = "1"
MODEL: Final = "iqa"
ALIAS: Final = "staging"
WAIT_S: Final = 90.0
STOP_S: Final = 60.0
POLL_S: Final = 0.05
WORKERS: Final = 2
WEBHOOK_SECRET: Final = "a secret of the measurement"
WATCH_S: Final = 2.0
"""How long a new version is watched; the default of 10 s would mostly show calm latencies."""
LONGEST_REQUEST_S: Final = 5.0
"""No request of this load takes longer; the default of 30 s only makes each drain wait."""


class System:
    """
    All processes, while it is entered.

    Args:
        folder: Folder of everything that is written; `disk` in it holds store and state.
        base_port: First of ten.
        mar: Archive of version 1; None: it is built from the shipped checkpoint.
        is_fronted: With the front before TorchServe.
        has_web: With the gateway behind the front.
        environment: Added for TorchServe and the side-car.
    """

    def __init__(
        self,
        folder: Path,
        base_port: int,
        *,
        mar: Path | None = None,
        is_fronted: bool = False,
        has_web: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.disk = self.folder / "disk"
        self.store = self.disk / "store"
        self.management_port = base_port + 1
        self.backend_port = base_port + 4  # TorchServe's own, where the front has the first
        self.url = f"http://127.0.0.1:{base_port}"
        ports = Ports(inference=base_port, management=base_port + 1, metrics=base_port + 2)
        self._torchserve = TorchServe(Addresses.on_this_machine(ports), MODEL)
        self.mlflow = MlflowServer(self.folder / "registry", base_port + 5)
        self._state_dir = self.disk / "state"
        self._webhook_port = base_port + 6
        self._mar = mar
        self._options = [
            "--front" if is_fronted else "--no-front", "--web" if has_web else "--no-web",
        ]  # fmt: skip
        self._plain_environment = plain_environment(
            MLFLOW_TRACKING_URI=self.mlflow.uri,
            IQA_STATE_DIR=str(self._state_dir),
            IQA_WEBHOOK_SECRET=WEBHOOK_SECRET,
            INFERENCE_PORT=str(base_port),
            MANAGEMENT_PORT=str(base_port + 1),
            METRICS_PORT=str(base_port + 2),
            HEALTH_PORT=str(base_port + 3),
            BACKEND_PORT=str(self.backend_port),
            WEB_PORT=str(base_port + 7),
            WORKERS=str(WORKERS),
        )
        self._environment = {**self._plain_environment, **(environment or {})}
        self._server: MarkedProcesses | None = None
        self._side_car: MarkedProcesses | None = None

    def __enter__(self) -> System:
        """Start MLflow, register version 1 and pack it, serve it, follow the alias."""
        for folder in (self.folder / "registry", self.store, self._state_dir):
            shutil.rmtree(folder, ignore_errors=True)  # of a run before
            folder.mkdir(parents=True)
        try:
            self.mlflow.start()
            self.mlflow.wait()
            self._register()
            self.start_server()
            self.start_side_car()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End everything."""
        for processes in (self._side_car, self._server):
            if processes is not None:
                processes.end()
        self.mlflow.stop()

    def start_server(self) -> float:
        """Start TorchServe and what is around it; return after how many seconds it was whole."""
        script = str(ROOT / "scripts" / "run_torchserve.sh")
        self._server = MarkedProcesses(
            [script, "--model-store", str(self.store), *self._options],
            self._environment,
            self._workspace("server"),
        )
        # One that ended has said why; nobody need wait for it.
        waited_s = self.wait_until(
            lambda: not self.is_up() or self.is_whole(), "TorchServe with all its workers"
        )
        if not self.is_up():
            raise RuntimeError(f"TorchServe: expected it to run, got:\n{self._server.last_words()}")
        return waited_s

    def stop_server(self) -> float:
        """Send it TERM; return after how many seconds its first process had ended."""
        assert self._server is not None
        begin_s = time.monotonic()
        self._server.first.terminate()
        self._server.first.wait(STOP_S)
        return time.monotonic() - begin_s

    def start_side_car(self, **environment: str) -> None:
        """Follow the alias; `environment` is for the side-car alone."""
        self._side_car = MarkedProcesses(
            self._command("sync", "--watch", "--webhook-port", str(self._webhook_port)),
            {**self._environment, "PYTHONPATH": str(ROOT), **environment},
            self._workspace("side-car"),
        )
        self.wait_until(lambda: self.record().get("good"), "the first round of the side-car")

    def stop_side_car(self) -> None:
        """Follow the alias no longer."""
        if self._side_car is not None:
            self._side_car.end()
            self._side_car = None

    def last_words(self) -> str:
        """Return the last line of the side-car."""
        said = self._side_car.last_words().splitlines() if self._side_car else []
        return said[-1] if said else ""

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m scripts.deploy` to its end, as a person types it."""
        return subprocess.run(
            self._command(*arguments),
            cwd=ROOT,
            env=self._environment,
            start_new_session=True,  # as from another terminal
            capture_output=True,
            text=True,
            check=False,
        )

    def start_deploy(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `python -m scripts.deploy`, what it prints and what it logs in one pipe."""
        return subprocess.Popen(
            self._command(*arguments),
            cwd=ROOT,
            env=self._environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def request(self) -> Request:
        """Return what the load sends."""
        body, headers = raw(make(SMALL))
        return Request(url=f"{self.url}/predictions/iqa", body=body, headers=headers)

    def processes(self) -> list[psutil.Process]:
        """Return all processes but MLflow's."""
        return [*self.server_processes(), *(self._side_car.alive() if self._side_car else [])]

    def server_processes(self) -> list[psutil.Process]:
        """Return TorchServe's processes, and those of what is around it."""
        found: dict[int, psutil.Process] = {}
        for process in self._server.alive() if self._server else []:
            found[process.pid] = process
            with contextlib.suppress(psutil.Error):
                # The front overwrites its environment with its title, and the mark with it.
                found |= {child.pid: child for child in process.children(recursive=True)}
        return list(found.values())

    def is_up(self) -> bool:
        """Tell whether the first process lives, which is asked to stop and sees to the rest."""
        return self._server is not None and self._server.first.poll() is None

    def java(self) -> psutil.Process:
        """Return TorchServe's Java process."""
        return next(process for process in self.processes() if process.name() == "java")

    def workers(self) -> list[psutil.Process]:
        """Return the processes that score for the default version."""
        return [psutil.Process(worker["pid"]) for worker in self._default().get("workers", [])]

    def served(self) -> str | None:
        """Return the default version; None where TorchServe does not answer."""
        version = self._default().get("modelVersion")
        return None if version is None else str(version)

    def loaded(self) -> set[str]:
        """Return all loaded versions."""
        try:
            return set(self._torchserve.loaded())
        except NotNow:
            return set()

    def record(self) -> Record:
        """Return what deployments left on record."""
        try:
            document: Record = json.loads((self._state_dir / "rollouts" / "iqa.json").read_text())
        except FileNotFoundError:
            return {}
        return document

    def is_whole(self) -> bool:
        """Tell whether all workers of the default version can answer, and a picture is scored."""
        entry = self._default()
        if not entry or ready_workers(entry) < WORKERS:
            return False
        try:
            code, _ = self._torchserve.score(make(SMALL))
        except NotNow:
            return False
        return code == 200

    def has_settled(self, version: str) -> bool:
        """Tell whether a version is served, proven, watched, and nothing else is under way."""
        good = self.record().get("good") or [{}]
        return (
            good[-1].get("version") == version
            and self.served() == version
            and len(self.loaded()) <= 2
            and self.record().get("last_error") is None
        )

    def move_alias(self, version: str) -> None:
        """Let the alias name a version."""
        model_versions.move_alias(MODEL, ALIAS, version, "measurement")

    def settle(self, version: str = FIRST) -> None:
        """Bring the system to a version, whatever happened before, and wait until it is whole."""
        self.move_alias(version)
        if self._side_car is None or (self.record().get("quarantine") or {}).get("version"):
            self.deploy("sync", "--retry")
        self.wait_until(lambda: self.has_settled(version), f"version {version} served")
        self.wait_until(self.is_whole, "all workers")

    def wait_until(self, condition: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> float:
        """
        Wait until something is true; return how many seconds that took.

        Raises:
            RuntimeError: It did not become true; with what the processes said last.
        """
        begin_s = time.monotonic()
        while not condition():
            if time.monotonic() - begin_s > wait_s:
                said = "\n".join(
                    processes.last_words()
                    for processes in (self._server, self._side_car)
                    if processes is not None
                )
                raise RuntimeError(f"{what}: expected it within {wait_s:g} s, got:\n{said}")
            time.sleep(POLL_S)
        return time.monotonic() - begin_s

    def _default(self) -> Record:
        try:
            entries = self._torchserve.entries()
        except NotNow:
            return {}
        return entries[0] if entries else {}

    def _command(self, command: str, *arguments: str) -> list[str]:
        times = ["--longest-request-s", str(LONGEST_REQUEST_S)]
        if command == "sync":
            times += ["--watch-s", str(WATCH_S)]
        return [sys.executable, "-m", "scripts.deploy", command, *arguments, *times]

    def _register(self) -> None:
        """Register the shipped model as version 1, with its archive in the store, and a webhook."""
        os.environ["MLFLOW_TRACKING_URI"] = self.mlflow.uri
        connect()
        self._run("scripts.register_pretrained")
        if self._mar is not None:
            shutil.copyfile(self._mar, self.store / f"{MODEL}-{FIRST}.mar")
            put_on_record(self.store, FIRST)
        else:
            self._run("scripts.build_mar", "--version", FIRST, "--out", str(self.store))
        mlflow.MlflowClient().create_webhook(
            "deploy",
            f"http://127.0.0.1:{self._webhook_port}/",
            [WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)],
            secret=WEBHOOK_SECRET,
        )

    def _run(self, module: str, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT, env=self._plain_environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{module}: expected it done, got: {done.stderr.strip()}")

    def _workspace(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder
