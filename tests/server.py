"""A server under test: started by the script that users start, reached over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import requests

from scripts.server.addresses import Addresses, Ports
from scripts.server.client import TorchServe
from scripts.server.process_end import has_ended, wait_until_ended
from tests.ports import BACKEND, WEB

TIMEOUT_S = 60.0
TRIES = 5
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
    "REGISTRY_PASSWORD": "a-secret-of-the-tests",
    "SERVICE_API_KEY": "a-secret-of-the-tests",
    "GITHUB_TOKEN": "a-secret-of-the-tests",
    "IQA_WEBHOOK_SECRET": "a-secret-of-the-tests",
}
"""In the environment of a start; no worker may see them."""


def path_without(program: str, folder: Path) -> str:
    """Return a PATH on which all programs of this machine are but one; `folder` takes links."""
    for directory in map(Path, os.environ["PATH"].split(os.pathsep)):
        for file in directory.iterdir() if directory.is_dir() else ():
            link = folder / file.name
            if file.name != program and not link.is_symlink():  # the first one of a name counts
                link.symlink_to(file)
    return str(folder)


class RunningServer:
    """One server with ports, store and state of its own."""

    def __init__(self, root: Path, model_store: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.model_store = model_store
        # Beside those that the fixture found free.
        base = int(environment["INFERENCE_PORT"])
        ports = {
            "HEALTH_PORT": str(base + 3),
            "BACKEND_PORT": str(base + BACKEND),
            "WEB_PORT": str(base + WEB),
        }
        self.environment = {**ports, **environment}
        self.state_dir = Path(environment["IQA_STATE_DIR"])
        self.first_words = ""

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the start script."""
        script = str(self.root / "scripts" / "run_torchserve.sh")
        return [script, "--model-store", str(self.model_store), *arguments]

    def take(self, archive: Path, registry: Path) -> RunningServer:
        """Begin with copies of an archive and of the registry that names it."""
        self.model_store.mkdir()
        shutil.copy(archive, self.model_store)
        own = self.environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
        shutil.copyfile(registry, own)
        return self

    def start(self, *arguments: str) -> RunningServer:
        """Serve, behind."""
        done = self.run("--detach", *arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        self.first_words = done.stdout
        return self

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the start script to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.state_dir.parent,  # it must not matter where the script is called from
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def url(self, variable: str, path: str) -> str:
        """Return an address; `variable` names the port."""
        return f"http://127.0.0.1:{self.environment[variable]}{path}"

    def post(self, body: Any = None, **arguments: Any) -> requests.Response:
        """
        Send a prediction request.

        Again where it waited too long, as that reply says: other tests take the cores, too.
        """
        for _ in range(TRIES):
            reply = requests.post(
                self.url("INFERENCE_PORT", "/predictions/iqa"),
                data=body,
                timeout=TIMEOUT_S,
                **arguments,
            )
            if reply.status_code != 503 or '"expired"' not in reply.text:
                break
        return reply

    def score(self, picture: bytes) -> dict[str, Any]:
        """Send a picture as it is; return the reply of a 200."""
        reply = self.post(picture, headers={"Content-Type": "application/octet-stream"})
        assert reply.status_code == 200, reply.text
        document: dict[str, Any] = reply.json()
        return document

    def manage(self, path: str = "") -> list[dict[str, Any]]:
        """Ask the management API about the model."""
        with urllib.request.urlopen(self.url("MANAGEMENT_PORT", f"/models/iqa{path}")) as reply:
            document: list[dict[str, Any]] = json.load(reply)
            return document

    def torchserve(self, model_name: str = "iqa") -> TorchServe:
        """Return a client of one of its models, past the front."""
        ports = Ports(**self.state()["ports"])
        return TorchServe(Addresses.on_this_machine(ports), model_name)

    def metrics(self) -> str:
        """Return the Prometheus page."""
        return requests.get(self.url("METRICS_PORT", "/metrics"), timeout=TIMEOUT_S).text

    def health(self, path: str) -> requests.Response:
        """Ask the supervisor: /live or /ready."""
        return requests.get(self.url("HEALTH_PORT", path), timeout=TIMEOUT_S)

    def state(self) -> dict[str, Any]:
        """Return TorchServe's process on record."""
        document: dict[str, Any] = json.loads((self.state_dir / "server.json").read_text())
        return document

    def logs(self) -> str:
        """Return the end of each log."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:])
            for path in sorted((self.state_dir / "logs").glob("*.log"))
        )

    def processes(self) -> list[str]:
        """Return the command lines of all processes, nginx's too, that work in its folder."""
        return [f"{process.pid}: {line}" for process, line in self._found()]

    def kill(self) -> None:
        """End it and all that it started, at once: how a server stops has tests of its own."""
        while found := [process for process, _ in self._found()]:
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_until_ended(found, TIMEOUT_S)

    def _found(self) -> Iterator[tuple[psutil.Process, str]]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())  # nginx writes over its environment
                is_ours = process.environ().get("IQA_STATE_DIR") == str(self.state_dir)
                if is_ours or str(self.state_dir) in line:
                    yield process, line

    def members(self) -> list[int]:
        """Return the process ids of the server's group, Java and workers."""
        state = self.state()
        listing = subprocess.run(
            ["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in listing.stdout.splitlines()]
        return [
            int(pid)
            for pid, group, stat in rows
            if group == str(state["group"]) and not stat.startswith("Z")
        ]


def running(pids: Iterable[int]) -> list[int]:
    """Return which of these processes have not ended; a zombie has."""

    def runs(pid: int) -> bool:
        try:
            return not has_ended(psutil.Process(pid))
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in pids if runs(pid)]


MakeServer = Callable[..., RunningServer]
"""Prepares one, as the fixtures `make_server` and `make_shared_server` do."""
