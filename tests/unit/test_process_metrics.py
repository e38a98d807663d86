"""What the supervisor tells of processes: counted from /proc, remembered when they are gone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scripts.server import process_start
from scripts.server.addresses import Ports
from scripts.server.prometheus_text import Family, page, single
from scripts.server.state import Server, StateDir
from scripts.supervisor.metrics import Census

# Stands in for Java: keeps one worker alive, with the words on its command line that a worker has.
PARENT = """
import subprocess, sys
while True:
    subprocess.run([sys.executable, "-c", sys.argv[1], "ts/model_service_worker.py",
                    "--sock-type", "unix", "--sock-name", "/tmp/.ts.sock.9000"])
"""
# Forks, as libraries do: for a moment there are two with one command line.
WORKER = """
import os, time
if os.fork() == 0:
    time.sleep(8)
    os._exit(0)
end = time.process_time() + 0.4
while time.process_time() < end:
    pass
time.sleep(60)
"""
WAIT_S = 20.0


def values(text: bytes) -> dict[str, float]:
    """Return the samples of a page."""
    rows = [line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in rows}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A parent and its worker."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, WORKER], cwd=tmp_path, start_new_session=True
    )
    process = psutil.Process(parent.pid)
    wait_for(lambda: len(process.children()) == 1)
    yield Server(
        pid=parent.pid,
        group=parent.pid,
        started_at_s=process_start.started_at_s(process.pid),
        mars={"iqa": str(tmp_path / "iqa-1.mar")},
        ports=Ports(),
    )
    children = process.children(recursive=True) if process.is_running() else []
    parent.kill()
    parent.wait()
    for child in children:
        child.kill()


def worker_of(server: Server) -> psutil.Process:
    """Return the one worker."""
    (worker,) = psutil.Process(server.pid).children()
    return worker


def test_each_kind_of_process_is_told(server: Server, tmp_path: Path) -> None:
    """Count, memory, files and CPU of Java, of its workers, and of the supervisor itself."""
    wait_for(lambda: len(worker_of(server).children()) == 1)
    told = values(Census(StateDir.at(tmp_path)).exposition(server, 2, ready=True))
    assert told['iqa_processes{process="java"}'] == 1
    assert told['iqa_processes{process="workers"}'] == 1
    assert told['iqa_processes{process="front"}'] == 0
    own = psutil.Process().memory_info().rss
    assert told['iqa_process_resident_bytes{process="supervisor"}'] == pytest.approx(own, rel=0.1)
    assert told['iqa_process_open_descriptors{process="workers"}'] >= 3
    assert told["iqa_jvm_restarts_total"] == 2
    assert told["iqa_ready"] == 1
    free = told['iqa_disk_free_bytes{folder="model-store"}']
    assert 0 < free < told['iqa_disk_size_bytes{folder="model-store"}']


def test_without_a_server_the_page_says_so(tmp_path: Path) -> None:
    """TorchServe is down: no process of it, and what is not known is left out."""
    told = values(Census(StateDir.at(tmp_path)).exposition(None, 0))
    assert told['iqa_processes{process="java"}'] == 0
    assert told['iqa_processes{process="supervisor"}'] == 1
    assert "iqa_ready" not in told


def test_a_worker_that_was_started_again_is_counted_and_its_cpu_time_kept(
    server: Server, tmp_path: Path
) -> None:
    """The sum never falls, or Prometheus would see a jump where a worker died."""
    census, cpu = Census(StateDir.at(tmp_path)), 'iqa_process_cpu_seconds_total{process="workers"}'
    first = worker_of(server)
    wait_for(lambda: sum(first.cpu_times()[:2]) >= 0.2)
    before = values(census.exposition(server, 0))
    assert before["iqa_worker_restarts_total"] == 0
    assert before[cpu] >= 0.2
    first.kill()
    parent = psutil.Process(server.pid)
    wait_for(lambda: any(one.pid != first.pid for one in parent.children()))
    after = values(census.exposition(server, 0))
    assert after["iqa_worker_restarts_total"] == 1
    assert after[cpu] >= before[cpu]
    assert values(census.exposition(server, 0))["iqa_worker_restarts_total"] == 1


def test_another_java_is_no_restart_of_its_workers(server: Server, tmp_path: Path) -> None:
    """A restart of TorchServe counts its sockets anew, and is counted by the supervisor."""
    census = Census(StateDir.at(tmp_path))
    census.exposition(server, 0)
    census._java = (1, 0.0)  # as if the one seen before had been another
    census._slots = dict.fromkeys(census._slots, (1, 0.0))
    assert values(census.exposition(server, 1))["iqa_worker_restarts_total"] == 0


def test_the_text_is_prometheus_own() -> None:
    """HELP and TYPE before the samples, labels escaped, a metric without samples left out."""
    told = page(
        [
            Family(
                name="iqa_x_total", kind="counter", help="Things.",
                samples=[({"folder": 'a"b\\c\nd'}, 3), ({"folder": "e"}, 0.5)],
            ),
            single("iqa_unknown", "gauge", "Not known.", None),
            single("iqa_y", "gauge", "One thing.", 7),
        ]
    )  # fmt: skip
    assert told.decode() == (
        "# HELP iqa_x_total Things.\n"
        "# TYPE iqa_x_total counter\n"
        'iqa_x_total{folder="a\\"b\\\\c\\nd"} 3.0\n'
        'iqa_x_total{folder="e"} 0.5\n'
        "# HELP iqa_y One thing.\n"
        "# TYPE iqa_y gauge\n"
        "iqa_y 7.0\n"
    )
    assert re.search(rb"\n$", told)
