"""A compose project under test, driven by the commands that users type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from console.paths import ROOT
from scripts.docker_up import SAMPLE, compose_command

UP_TIMEOUT_S = 3000.0  # a first build fetches gigabytes
TIMEOUT_S = 300.0
INSIDE = ROOT / "tests" / "docker" / "inside.py"
CONNECT = """
import json, socket, sys
found = []
for host in sys.argv[2:]:
    try:
        socket.create_connection((host, int(sys.argv[1])), 3).close()
        found.append(host)
    except OSError:
        pass
print(json.dumps(found))
"""


class Stack:
    """
    One project of docker-compose.yml.

    Args:
        project: Its name; of all that is made, too.
        ports: The variables of the published ports.
    """

    def __init__(self, project: str, ports: dict[str, str]) -> None:
        self.project = project
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "COMPOSE_"))},
            **ports,
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_FILE": os.pathsep.join(["docker-compose.yml", "tests/docker/secrets.yml"]),
            "POLL_S": "1",
        }
        self.front = f"http://127.0.0.1:{ports['INFERENCE_PORT']}"
        self.mlflow = f"http://127.0.0.1:{ports['MLFLOW_PORT']}"
        self.prometheus = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}"
        self.first_words = ""

    def up(self) -> None:
        """Build and start it as `scripts/run_torchserve.sh --docker` does."""
        done = self._run([sys.executable, "-m", "scripts.docker_up"], UP_TIMEOUT_S)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.logs()}"
        self.first_words = done.stdout

    def compose(self, *words: str) -> str:
        """Run a compose command; return what it prints."""
        done = self._run([*compose_command(), *words])
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def docker(self, *words: str) -> str:
        """Run a docker command; return what it prints."""
        done = self._run(["docker", *words])
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        label = f"label=com.docker.compose.service={service}"
        ids = self.docker("ps", "-aq", "--filter", self._label(), "--filter", label).split()
        assert len(ids) == 1, f"{service}: {ids}"
        return ids[0]

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        document: dict[str, Any] = json.loads(self.docker("inspect", self.container(service)))[0]
        return document

    def inside(self, service: str, program: Path) -> Any:
        """Run a Python file in a service's container; return the JSON that it prints."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.container(service), "python", "-"],
            input=program.read_text(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def reaches(self, service: str, hosts: Sequence[str], port: int) -> list[str]:
        """Return those hosts that a service's container gets a connection to."""
        tried = self.docker(
            "exec", self.container(service), "python", "-c", CONNECT, str(port), *hosts
        )
        found: list[str] = json.loads(tried)
        return found

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the project on this machine, against the project's MLflow."""
        self.environment["MLFLOW_TRACKING_URI"] = self.mlflow
        return self._run([sys.executable, *words])

    def score(self) -> dict[str, Any]:
        """Score the sample through the front; return the reply of a 200."""
        reply = requests.post(
            f"{self.front}/predictions/iqa", data=SAMPLE.read_bytes(),
            headers={"Content-Type": "application/octet-stream"}, timeout=60,
        )  # fmt: skip
        assert reply.status_code == 200, reply.text
        document: dict[str, Any] = reply.json()
        return document

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until the front says ready."""
        deadline = time.monotonic() + timeout_s
        said = ""
        while time.monotonic() < deadline:
            try:
                reply = requests.get(f"{self.front}/ready", timeout=10)
                if reply.status_code == 200:
                    return
                said = reply.text
            except requests.RequestException as error:
                said = str(error)
            time.sleep(0.3)
        raise AssertionError(f"not ready: {said}\n{self.logs()}")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus; return the result's series."""
        reply = requests.get(
            f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=30
        ).json()
        assert reply["status"] == "success", reply
        result: list[dict[str, Any]] = reply["data"]["result"]
        return result

    def left(self) -> dict[str, list[str]]:
        """Return what the engine has of this project: containers, networks, volumes."""
        commands = {
            "containers": ["ps", "-aq"],
            "networks": ["network", "ls", "-q"],
            "volumes": ["volume", "ls", "-q"],
        }
        return {
            what: self.docker(*words, "--filter", self._label()).split()
            for what, words in commands.items()
        }

    def remove(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "--volumes", "--remove-orphans")

    def logs(self) -> str:
        """Return the end of each service's log, and what runs."""
        words = [*compose_command(), "logs", "--tail=40", "--no-color"]
        return self._run([*compose_command(), "ps"]).stdout + self._run(words).stdout

    def _label(self) -> str:
        return f"label=com.docker.compose.project={self.project}"

    def _run(
        self, command: list[str], timeout_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip


@dataclass
class Load:
    """
    One request after the other, with a pause, in a thread of its own.

    Attributes:
        stack: Where they go, through its front.
        pause_s: Between an answer and the next request.
        versions: Model versions that answered 200, in order.
        failures: Everything else.
    """

    stack: Stack
    pause_s: float = 0.1
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(timeout=90)

    def wait_for(self, version: str, timeout_s: float) -> None:
        """Wait until a version answers."""
        deadline = time.monotonic() + timeout_s
        while self.versions[-1:] != [version]:
            assert time.monotonic() < deadline, f"{self.versions[-1:]}\n{self.stack.logs()}"
            time.sleep(0.2)

    def _send(self) -> None:
        while not self._ends.is_set():
            try:
                self.versions.append(self.stack.score()["model"]["version"])
            except (AssertionError, requests.RequestException) as error:
                self.failures.append(str(error))
            time.sleep(self.pause_s)
