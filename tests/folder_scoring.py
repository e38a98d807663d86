"""For the tests of `scripts.score_folder`: the command, its rows, its journal."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

from console.paths import ROOT

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
TOLERANCE = 0.01  # of a point
COLUMNS = [
    "filename", "score", "label", "interval_low", "interval_high", "coverage", "cause_blur",
    "cause_noise", "cause_compression", "main_cause", "familiarity", "width", "height", "format",
    "warnings", "reason", "message", "model_version", "model_precision", "model_sha256",
]  # fmt: skip
TIMEOUT_S = 240.0


def command(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command as a person would."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.score_folder", *map(str, words)],
        cwd=ROOT, env={**os.environ, **environment}, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def score(*words: object, **environment: str) -> tuple[int, str]:
    """Run the command to its end; return its exit status and what it says."""
    process = command(*words, **environment)
    _, said = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, said


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run_folder(out: Path) -> Path:
    """Return where a run keeps what it has."""
    return out.with_name(f".{out.name}.run")


def journal(out: Path) -> list[str]:
    """Return the whole lines of a run's journal."""
    path = run_folder(out) / "journal.jsonl"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def links(top: Path, n_images: int) -> Path:
    """Make a folder of links to the golden photographs."""
    top.mkdir()
    for index in range(n_images):
        (top / f"{index:02}.jpg").symlink_to(GOLDEN[index % len(GOLDEN)])
    return top


def wait_for_rows(process: subprocess.Popen[str], out: Path, more: int) -> None:
    """Wait until a run has so many rows more than it found."""
    path = run_folder(out) / "journal.jsonl"
    wanted = (path.read_bytes().count(b"\n") if path.exists() else 0) + more
    deadline = time.monotonic() + TIMEOUT_S
    while not (path.exists() and path.read_bytes().count(b"\n") >= wanted):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
