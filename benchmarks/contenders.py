"""What the benchmark compares: how each contender is started, asked, found and ended."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import psutil
import requests

from benchmarks.peers import launches
from benchmarks.peers.launches import Launch, Site
from benchmarks.peers.processes import MarkedProcesses
from benchmarks.peers.torchserve import STARTED
from scripts.server.addresses import Ports
from scripts.server.free_ports import expect_free

START_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02
GOLDEN: Final = "parrots.jpg"
MAX_SCORE_DIFFERENCE: Final = 1.0  # what int8 may change; anything wrong changes more

__all__ = ["CONTENDERS", "Contender", "LimitRate", "Running", "Site", "limit_rate", "running"]


@dataclass(frozen=True, kw_only=True)
class LimitRate:
    """
    What the machine does where no server is in the way.

    Attributes:
        pictures_per_s: Decoded images a second, all processes together.
        cpu_s: CPU seconds a picture, all stages and the loop around them.
        stages_cpu_s: The same by stage: decode, preprocess, graph.
    """

    pictures_per_s: float
    cpu_s: float
    stages_cpu_s: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """
    One row of the tables.

    Attributes:
        title: For the tables; what it is, benchmarks/README.md says.
        launch: Prepares its files and says how it is started; None for the limit: see
            `limit_rate`.
        is_scored: False where the reply is no score.
    """

    title: str
    launch: Callable[[Site], Launch] | None
    is_scored: bool = True


class Running:
    """
    A started contender.

    Attributes:
        url: Where POST goes.
        startup_s: From the process start to the first right score.
    """

    def __init__(self, launch: Launch, processes: MarkedProcesses) -> None:
        self.url = launch.url
        self.startup_s = float("nan")
        self._launch = launch
        self._processes = processes

    def encode(self, picture: bytes) -> tuple[bytes, dict[str, str]]:
        """Return the request's body and headers for a picture file."""
        return self._launch.encode(picture)

    def score_of(self, reply: bytes) -> float:
        """Return the score of a reply, 0-100."""
        return self._launch.score_of(reply)

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the server."""
        return self._processes.alive()

    def pause(self) -> None:
        """Keep the server from running: an idle one must not take the others' CPU."""
        self._processes.pause()

    def resume(self) -> None:
        """Let it run again."""
        self._processes.resume()


CONTENDERS: Final[dict[str, Contender]] = {
    "iqa": Contender(
        title="ours",
        launch=launches.iqa,
    ),
    "limit": Contender(
        title="limit, no server",
        launch=None,
    ),
    "torchserve_noop": Contender(
        title="TorchServe floor",
        launch=launches.torchserve_noop,
        is_scored=False,
    ),
    "torchserve_eager": Contender(
        title="TorchServe eager, 1 thread",
        launch=launches.torchserve_eager,
    ),
    "torchserve_eager_default": Contender(
        title="TorchServe eager",
        launch=launches.torchserve_eager_default,
    ),
    "fastapi_eager": Contender(
        title="FastAPI eager",
        launch=launches.fastapi_eager,
    ),
    "fastapi_openvino": Contender(
        title="FastAPI",
        launch=launches.fastapi_openvino,
    ),
    "litserve": Contender(
        title="LitServe",
        launch=launches.litserve,
    ),
    "bentoml": Contender(
        title="BentoML",
        launch=launches.bentoml,
    ),
    "mlflow_serve": Contender(
        title="mlflow models serve",
        launch=launches.mlflow_serve,
    ),
}
"""Every contender by its name."""


@contextmanager
def running(name: str, site: Site) -> Iterator[Running]:
    """
    Start a contender, wait until it scores the golden picture right, end it afterwards.

    Args:
        name: One of `CONTENDERS`, the limit excepted.
        site: Where; the workspace is made anew.

    Raises:
        ValueError: An unknown name, one that is no server, or a port that is taken.
        RuntimeError: It ended, answered wrongly or not in time; with what it printed last.
    """
    contender = CONTENDERS.get(name)
    if contender is None or contender.launch is None:
        servers = ", ".join(key for key, value in CONTENDERS.items() if value.launch)
        raise ValueError(f"contender: expected one of {servers}, got {name!r}.")
    # Another server on the port would answer in this one's place.
    expect_free(Ports(inference=site.port, management=site.port + 1, metrics=site.port + 2))
    site = _ready(site)
    launch = contender.launch(site)
    processes = MarkedProcesses(launch.command, launch.environment, site.workspace)
    try:
        server = Running(launch, processes)
        _wait_for_score(name, contender, server, site, processes)
        marker = site.workspace / STARTED
        started_at = marker.stat().st_mtime if marker.exists() else processes.started_at
        server.startup_s = time.time() - started_at
        yield server
    finally:
        processes.end()


def limit_rate(site: Site, picture: bytes, seconds: float) -> LimitRate:
    """
    Score one picture over and over, without a server, in as many processes as workers.

    Args:
        site: Its port is not used.
        picture: The file's content.
        seconds: How long, after each process has loaded and warmed up.
    """
    site = _ready(site)
    file = site.workspace / "picture"
    file.write_bytes(picture)
    command, environment = launches.limit(site, file)
    with ExitStack() as stack:
        loops = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=site.workspace,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(site.workers)
        ]
        for loop in loops:  # leaving the stack waits for them, so an interrupt must end them
            stack.callback(loop.kill)
        pipes = [(loop.stdin, loop.stdout) for loop in loops if loop.stdin and loop.stdout]
        for _, said in pipes:
            if said.readline() != "ready\n":
                raise RuntimeError("limit: expected a process that says ready, got one that ended.")
        for told, _ in pipes:
            told.write(f"{seconds}\n")
            told.flush()
        results = [json.loads(said.readline()) for _, said in pipes]
    pictures = sum(result["pictures"] for result in results)
    stages = {
        stage: sum(result["stages_cpu_s"][stage] for result in results) / pictures
        for stage in results[0]["stages_cpu_s"]
    }
    return LimitRate(
        pictures_per_s=sum(result["pictures"] / result["elapsed_s"] for result in results),
        cpu_s=sum(result["cpu_s"] for result in results) / pictures,
        stages_cpu_s=stages,
    )


def _ready(site: Site) -> Site:
    """Make the workspace; all paths absolute, because servers run in it and not here."""
    site.workspace.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(
        site,
        mar=site.mar.resolve(),
        model_dir=site.model_dir.resolve(),
        workspace=site.workspace.resolve(),
    )


def _wait_for_score(
    name: str, contender: Contender, server: Running, site: Site, processes: MarkedProcesses
) -> None:
    body, headers = server.encode((site.model_dir / "golden" / GOLDEN).read_bytes())
    golden = json.loads((site.model_dir / "provenance.json").read_text())["golden"]
    expected = next(item["score"] for item in golden if item["file"] == GOLDEN)
    deadline = time.monotonic() + START_TIMEOUT_S
    with requests.Session() as session:
        session.trust_env = False  # HTTP_PROXY often covers loopback too
        answer = "none"
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            try:
                reply = session.post(
                    server.url, data=body, headers=headers, timeout=START_TIMEOUT_S
                )
            except requests.RequestException as error:
                answer = type(error).__name__
                if not processes.alive():
                    break
                continue
            if reply.status_code != 200:  # not ready yet, in its own words
                answer = f"{reply.status_code} {reply.text[:500]}"
                continue
            score = server.score_of(reply.content)
            if contender.is_scored and not abs(score - expected) <= MAX_SCORE_DIFFERENCE:
                raise RuntimeError(f"{name}, {GOLDEN}: expected the score {expected}, got {score}.")
            return
    state = "" if processes.alive() else ", and it ended"
    raise RuntimeError(
        f"{name}: expected a score within {START_TIMEOUT_S:g} s, got {answer}{state}:\n"
        f"{processes.last_words()}"
    )
