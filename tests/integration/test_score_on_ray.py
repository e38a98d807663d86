"""
Scoring a folder on a real Ray cluster of several nodes here, some of it killed on the way.

Ray is no package of the tests' environment. Where it is wanted:
uv pip install --python .venv/bin/python -r scripts/batch/requirements.txt
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from console.paths import ROOT
from tests.ports import free_ports

pytest.importorskip("ray", reason="ray is not installed")

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
IMAGES = 120
BATCH = 4
NODE = [
    "--num-cpus", "1", "--object-store-memory", str(100 * 1024 * 1024), "--disable-usage-stats",
    # Any that are free: by default all nodes of a machine would take the same ones.
    "--min-worker-port", "0", "--max-worker-port", "0", "--include-log-monitor", "false",
]  # fmt: skip
TIMEOUT_S = 280.0


@dataclass
class Cluster:
    """
    Nodes of one cluster, each started as on a machine of its own: `ray start`.

    Attributes:
        address: Of the head.
        environment: Of nodes and drivers.
        nodes: Those that run, the head first.
    """

    address: str
    environment: dict[str, str]
    nodes: list[subprocess.Popen[str]] = field(default_factory=list)

    def add(self, *words: str) -> subprocess.Popen[str]:
        """Start a node, and wait until it is one."""
        agent = free_ports()["MANAGEMENT_PORT"]
        node = subprocess.Popen(
            [
                sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *NODE,
                "--dashboard-agent-listen-port", agent, *(words or ["--address", self.address]),
            ],
            env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.nodes.append(node)
        assert node.stdout is not None
        said = ""
        while "Ray runtime started" not in said:
            line = node.stdout.readline()
            assert line, said
            said += line
        return node

    def lose(self, node: subprocess.Popen[str]) -> None:
        """Kill a node with all that runs on it at once, as where a machine is switched off."""
        self.nodes.remove(node)
        first = psutil.Process(node.pid)
        for process in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.communicate()


def command(*words: object, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the command as a person would."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.score_folder", *map(str, words)],
        cwd=ROOT, env=environment, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[bytes]) -> str:
    """Wait until it has ended well; return what it said."""
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said.decode()[-3000:]
    return said.decode()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the golden images, and one file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(IMAGES):
        (folder / f"{index:03}.jpg").symlink_to(GOLDEN[index % len(GOLDEN)])
    (folder / "no-image.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What nodes and drivers are started with."""
    # Of the tests' environment alone: jsonschema's check of addresses, which compiles a grammar
    # for three seconds in every process of Ray. It is optional, and left out so.
    without = tmp_path_factory.mktemp("without")
    (without / "rfc3987_syntax.py").write_text("raise ImportError\n")
    return {
        **os.environ, "PYTHONPATH": str(without),
        # As docs/scale.md says for every machine of a cluster.
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }  # fmt: skip


@pytest.fixture(scope="module")
def expected(
    images: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """What one machine without Ray writes."""
    out = tmp_path_factory.mktemp("local") / "scores.csv"
    ended(command(images, "--out", out, environment=environment))
    return out.read_bytes()


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    """A head, where the drivers run, and one more node."""
    port = free_ports()["INFERENCE_PORT"]
    # Sockets lie in it, and their paths have to be short.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    system = Cluster(f"127.0.0.1:{port}", environment)
    try:
        system.add(
            "--head", "--node-ip-address", "127.0.0.1", "--port", port, "--temp-dir", folder,
            "--include-dashboard", "false",
        )  # fmt: skip
        system.add()
        yield system
    finally:
        for node in reversed([*system.nodes]):
            system.lose(node)
        shutil.rmtree(folder, ignore_errors=True)


def start(images: Path, out: Path, cluster: Cluster) -> subprocess.Popen[bytes]:
    """Start a run on the cluster."""
    return command(
        images, "--out", out, "--ray", cluster.address, "--batch-size", BATCH, "--workers", 2,
        environment=cluster.environment,
    )  # fmt: skip


def wait_for_rows(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    """Wait until so many rows are kept."""
    journal = out.with_name(f".{out.name}.run") / "journal.jsonl"
    deadline = time.monotonic() + TIMEOUT_S
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()[1].decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_rows_are_those_of_one_machine(
    images: Path, expected: bytes, cluster: Cluster, tmp_path: Path
) -> None:
    """Two nodes give the same file, to the byte."""
    out = tmp_path / "scores.csv"
    ended(start(images, out, cluster))
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_killed_actor_loses_nothing(
    images: Path, expected: bytes, cluster: Cluster, tmp_path: Path
) -> None:
    """The process that holds a worker is killed; its batch is done by another."""
    out = tmp_path / "scores.csv"
    process = start(images, out, cluster)
    wait_for_rows(process, out, BATCH)
    workers = [
        found
        for found in psutil.process_iter(["cmdline"])
        if "scripts.batch.worker" in (words := found.info["cmdline"] or [])
        and str(images) in words[-1]
    ]
    assert workers
    actor = workers[0].parent()
    assert actor is not None
    actor.kill()
    ended(process)
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_killed_driver_is_followed_by_the_same_command(
    images: Path, expected: bytes, cluster: Cluster, tmp_path: Path
) -> None:
    """What it had is kept, and the rest is done: nothing is lost and nothing there twice."""
    out = tmp_path / "scores.csv"
    process = start(images, out, cluster)
    wait_for_rows(process, out, BATCH)
    process.kill()
    process.communicate()
    assert expected.startswith(out.read_bytes())
    ended(start(images, out, cluster))
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_killed_node_loses_nothing(
    images: Path, expected: bytes, cluster: Cluster, tmp_path: Path
) -> None:
    """A machine that goes away, with its actor and the rows that nobody had fetched."""
    out = tmp_path / "scores.csv"
    node = cluster.nodes[-1]
    process = start(images, out, cluster)
    wait_for_rows(process, out, BATCH)
    cluster.lose(node)
    cluster.add()  # one that was bought instead: two actors again
    ended(process)
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_ray_of_its_own_gives_the_same_rows_and_says_no_more_than_a_local_run(
    images: Path, expected: bytes, environment: dict[str, str], tmp_path: Path
) -> None:
    """`--ray local` starts one and ends it; a file on standard error holds our lines alone."""
    out = tmp_path / "scores.csv"
    said = ended(command(images, "--out", out, "--ray", "local", environment=environment))
    assert out.read_bytes() == expected
    ours = (" of 121 images, ", "images a second", "not scored: undecodable")
    more = [line for line in said.splitlines() if not any(words in line for words in ours)]
    assert all("Set ray log level" in line for line in more), said  # which cannot be turned off


def test_an_address_where_no_cluster_is_says_so_at_once(
    images: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """One line, exit status 1, and nothing left behind."""
    address = f"127.0.0.1:{free_ports()['INFERENCE_PORT']}"
    words = [images, "--out", tmp_path / "scores.csv", "--ray"]
    process = command(*words, address, environment=environment)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and b"expected a Ray cluster, got" in said, said
    process = command(*words, "ray://there", environment=environment)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and b"expected local, auto or HOST:PORT" in said, said
    assert not [*tmp_path.iterdir()]
