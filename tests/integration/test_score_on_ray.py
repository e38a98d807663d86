"""
Scoring a folder on a real Ray cluster of two nodes on this machine, some of it killed on the way.

Ray is no package of the tests' environment. Where it is wanted:
uv pip install --python .venv/bin/python -r scripts/batch/requirements.txt
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.paths import ROOT

ray_cluster = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
IMAGES = 120
BATCH = 4
NODE = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024}
TIMEOUT_S = 280.0


def command(*words: object) -> subprocess.Popen[bytes]:
    """Start the command as a person would."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.score_folder", *map(str, words)],
        cwd=ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended well."""
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said.decode()[-3000:]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the golden images, and one file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(IMAGES):
        (folder / f"{index:03}.jpg").symlink_to(GOLDEN[index % len(GOLDEN)])
    (folder / "no-image.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one machine without Ray writes."""
    out = tmp_path_factory.mktemp("local") / "scores.csv"
    ended(command(images, "--out", out))
    return out.read_bytes()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head, where the drivers run, and one more node."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    system = ray_cluster.Cluster(initialize_head=True, head_node_args=NODE)
    system.add_node(**NODE)
    system.wait_for_nodes()
    yield system
    system.shutdown()


def start(images: Path, out: Path, cluster: Any) -> subprocess.Popen[bytes]:
    """Start a run on the cluster."""
    return command(
        images, "--out", out, "--ray", cluster.address, "--batch-size", BATCH, "--workers", 2
    )


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
    images: Path, expected: bytes, cluster: Any, tmp_path: Path
) -> None:
    """Two nodes give the same file, to the byte."""
    out = tmp_path / "scores.csv"
    ended(start(images, out, cluster))
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_killed_actor_loses_nothing(
    images: Path, expected: bytes, cluster: Any, tmp_path: Path
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
    images: Path, expected: bytes, cluster: Any, tmp_path: Path
) -> None:
    """What it had is kept, and the rest is done: nothing is lost and nothing there twice."""
    out = tmp_path / "scores.csv"
    process = start(images, out, cluster)
    wait_for_rows(process, out, BATCH)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert expected.startswith(out.read_bytes())
    ended(start(images, out, cluster))
    assert out.read_bytes() == expected


@pytest.mark.timeout(600)
def test_a_killed_node_loses_nothing(
    images: Path, expected: bytes, cluster: Any, tmp_path: Path
) -> None:
    """A machine that goes away, with its actor and the rows that nobody had fetched."""
    out = tmp_path / "scores.csv"
    node = cluster.add_node(**NODE)
    process = start(images, out, cluster)
    wait_for_rows(process, out, BATCH)
    cluster.remove_node(node, allow_graceful=False)
    ended(process)
    assert out.read_bytes() == expected
