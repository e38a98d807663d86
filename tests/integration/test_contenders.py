"""What the benchmark compares: the same packages, and servers that are found and ended whole."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.contenders import CONTENDERS, Site, running
from benchmarks.peers import launches
from benchmarks.peers.processes import MarkedProcesses, plain_environment
from console.paths import ROOT
from scripts.server.process_end import has_ended
from tests.ports import free_port

# A parent that ends at once, a child in a session of its own, and the child's child.
FAMILY = """
import subprocess, sys
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; " \
    "time.sleep(60)']); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
"""


def pins(part: str) -> dict[str, set[str]]:
    """Return the versions of each package that a requirements file names."""
    found: dict[str, set[str]] = {}
    text = (ROOT / part / "requirements.txt").read_text()
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_peers_run_the_graph_with_the_packages_that_we_serve_with() -> None:
    """A peer with another OpenVINO or Pillow would be compared in those, not as a server."""
    ours, theirs = pins("tests"), pins("benchmarks")
    for name in ("torch", "torchvision", "openvino", "pillow", "numpy", "safetensors"):
        assert theirs[name] == ours[name], name


def wait_for(is_true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def last_words(processes: MarkedProcesses) -> list[str]:
    """Return the last word of each process; of one that ends meanwhile, none."""
    found = []
    for process in processes.alive():
        with contextlib.suppress(psutil.Error):
            found.append(process.cmdline()[-1])
    return found


def test_a_server_is_found_and_ended_whatever_its_workers_do(tmp_path: Path) -> None:
    """Processes that moved to another session, or lost their parent, still belong to it."""
    processes = MarkedProcesses([sys.executable, "-c", FAMILY], plain_environment(), tmp_path)
    wait_for(lambda: [words.count("sleep(60)") for words in last_words(processes)] == [2, 1])
    found = processes.alive()
    processes.pause()
    wait_for(lambda: {process.status() for process in found} == {psutil.STATUS_STOPPED})
    processes.resume()
    wait_for(lambda: psutil.STATUS_STOPPED not in {process.status() for process in found})
    processes.end()
    assert processes.alive() == []
    assert all(has_ended(process) for process in found)


def test_a_contender_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names it and shows what it printed last."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "parrots.jpg").write_bytes(b"picture")
    golden = {"golden": [{"file": "parrots.jpg", "score": 80.0}]}
    (tmp_path / "provenance.json").write_text(json.dumps(golden))
    monkeypatch.setattr(launches, "PEER_PYTHON", Path(sys.executable))
    site = Site(
        mar=tmp_path / "iqa-1.mar", model_dir=tmp_path, workspace=tmp_path / "work",
        port=free_port(), workers=2,
    )  # fmt: skip
    with (
        pytest.raises(RuntimeError, match=r"(?s)fastapi_eager: expected a score .* it ended.*rror"),
        running("fastapi_eager", site),
    ):
        pass


def test_requests_hold_the_picture() -> None:
    """Each language carries the file unchanged."""
    picture = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
    assert launches.raw(picture)[0] == picture
    body, headers = launches.multipart("image")(picture)
    assert picture in body
    assert headers["Content-Type"].split("boundary=")[1].encode() in body
    assert len(json.loads(launches.base64_json(picture)[0])["image"]) == -(-len(picture) // 3) * 4
    pixels = json.loads(launches.pixels_json(picture)[0])["inputs"]
    assert (len(pixels), len(pixels[0][0][0])) == (1, 3)


def test_the_readme_names_every_contender() -> None:
    """benchmarks/README.md has a line for each, and none that is gone."""
    text = (ROOT / "benchmarks" / "README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(CONTENDERS)
