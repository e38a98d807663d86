"""The prediction log of a real server: rows, a full disk, killed workers, an erasure, a stop."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from console.paths import ROOT
from scripts.archive.mar_file import sha256_of
from scripts.prediction_log import maintenance, reading
from scripts.prediction_log.verify import verify
from tests.conftest import python
from tests.server import MakeServer, RunningServer

PARROTS = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
LIGHTHOUSE = (ROOT / "handler" / "golden" / "lighthouse.jpg").read_bytes()
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KILLS = int(os.environ.get("PREDICTION_LOG_KILLS", "3"))
"""Twenty take two minutes: PREDICTION_LOG_KILLS=20 pytest tests/e2e/test_prediction_log.py"""
LOST_S = 1.0
NOTED_S = 0.2


@pytest.fixture
def folder(talkative: RunningServer) -> Path:
    """The folder of its log."""
    return Path(talkative.environment["PREDICTION_LOG"])


def rows(folder: Path, *ids: str) -> list[dict[str, Any]]:
    """Return the rows of requests, once there is one for each."""
    deadline = time.monotonic() + 10
    while True:
        found = {row["data"].get("request_id"): row for row in reading.rows_of(folder)}
        if set(ids) <= found.keys() or time.monotonic() > deadline:
            return [found[one] for one in ids]
        time.sleep(0.1)


def counts(server: RunningServer) -> dict[str, float]:
    """Return how many rows were written and dropped, and the error number."""
    told = {}
    for line in server.metrics().splitlines():
        if line.startswith("iqa_prediction_log_"):
            name = "errno" if "errno" in line else "written" if "written" in line else "dropped"
            told[name] = float(line.rsplit(" ", 1)[1])
    return told


def wait_for(condition: Callable[[], bool], wait_s: float = 30.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def worker_of(server: RunningServer) -> dict[str, Any]:
    """Return the one worker as the management API tells of it."""
    worker: dict[str, Any] = server.manage()[0]["workers"][0]
    return worker


def test_each_answer_has_a_row(talkative: RunningServer, folder: Path) -> None:
    """Scores, refusals and maps: what the reply says, and the digests of picture and archive."""
    headers = {"X-Request-ID": "row-1", "traceparent": TRACE}
    reply = talkative.post(PARROTS, headers=headers).json()
    assert talkative.post(b"no picture", headers={"X-Request-ID": "row-2"}).status_code == 400
    explain = talkative.url("INFERENCE_PORT", "/explanations/iqa")
    assert requests.post(explain, data=PARROTS, headers={"X-Request-ID": "row-3"}, timeout=60).ok
    scored, refused, explained = rows(folder, "row-1", "row-2", "row-3")
    data = scored["data"]
    for name in ("score", "label", "interval", "warnings"):
        assert data[name] == reply[name]
    assert {name: data[name] for name in ("width", "height", "format")} == reply["image"]
    assert {"name": data["model"], "version": data["version"]} == reply["model"]
    assert data["archive_sha256"] == sha256_of(talkative.model_store / "iqa-1.mar")
    assert scored["subject"] == f"sha256:{hashlib.sha256(PARROTS).hexdigest()}"
    assert (data["bytes"], data["status"], scored["traceparent"]) == (len(PARROTS), 200, TRACE)
    assert data["whole_s"] >= data["decode_s"] + data["network_s"] > 0
    assert (refused["type"], refused["data"]["reason"]) == (
        "iqa.prediction.rejected", "undecodable",
    )  # fmt: skip
    assert explained["type"] == "iqa.prediction.explained"
    assert verify(folder).problems == []
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_status_and_metrics_tell_that_it_is_written(talkative: RunningServer, folder: Path) -> None:
    """The start says how to read it."""
    assert "python -m scripts.predictions" in talkative.first_words
    talkative.post(PARROTS, headers={"X-Request-ID": "row-4"})
    rows(folder, "row-4")
    wait_for(lambda: counts(talkative)["written"] == len(list(reading.rows_of(folder))))
    assert (counts(talkative)["errno"], counts(talkative)["dropped"]) == (0, 0)
    said = talkative.run("--status")
    assert said.returncode == 0
    assert "prediction log: " in said.stdout
    assert "STOPPED" not in said.stdout
    assert python("-m", "scripts.predictions", str(folder)).returncode == 0


def test_a_full_disk_stops_the_log_and_never_a_score(
    talkative: RunningServer, folder: Path
) -> None:
    """Said in metrics and status; it goes on by itself, and tells how many answers have no row."""
    worker = psutil.Process(int(worker_of(talkative)["pid"]))
    limits = worker.rlimit(resource.RLIMIT_FSIZE)
    worker.rlimit(resource.RLIMIT_FSIZE, (1, limits[1]))  # no file may grow, as with a full disk
    try:
        before = counts(talkative)
        for _ in range(5):
            assert talkative.score(PARROTS)["score"] > 50
        wait_for(lambda: counts(talkative)["dropped"] == before["dropped"] + 5)
        assert os.strerror(int(counts(talkative)["errno"])) == "File too large"
        said = talkative.run("--status")
        assert "STOPPED in 1 of 1 workers: File too large" in said.stdout
        assert said.returncode == 0  # it serves
    finally:
        worker.rlimit(resource.RLIMIT_FSIZE, limits)
    talkative.post(PARROTS, headers={"X-Request-ID": "row-5"})
    rows(folder, "row-5")
    wait_for(lambda: counts(talkative)["errno"] == 0)
    found = verify(folder)
    assert found.problems == []
    assert any("5 answers have no row" in note for note in found.notes)


@pytest.mark.alone
def test_a_killed_worker_loses_a_second_of_rows_at_most(
    talkative: RunningServer, folder: Path
) -> None:
    """Under load, several times: readers meet no half row, and nothing looks tampered with."""
    answered: dict[str, float] = {}
    done = threading.Event()

    def ask(client: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            name = f"kill-{client}-{number}"
            try:
                if talkative.post(PARROTS, headers={"X-Request-ID": name}).status_code == 200:
                    answered[name] = time.monotonic()
            except requests.RequestException:
                continue

    clients = [threading.Thread(target=ask, args=(client,)) for client in range(3)]
    for client in clients:
        client.start()
    killed_at: list[float] = []
    try:
        for _ in range(KILLS):
            pid = int(worker_of(talkative)["pid"])
            before = len(answered)
            wait_for(lambda before=before: len(answered) > before + 20)
            time.sleep(1.5 * LOST_S)  # so that each worker has written when it is killed
            os.kill(pid, signal.SIGKILL)
            killed_at.append(time.monotonic())
            wait_for(
                lambda pid=pid: (
                    worker_of(talkative)["status"] == "READY"
                    and int(worker_of(talkative)["pid"]) != pid
                )
            )
    finally:
        done.set()
        for client in clients:
            client.join()
    time.sleep(LOST_S)
    written = {row["data"]["request_id"] for row in reading.rows_of(folder)}
    lost = {name: at for name, at in answered.items() if name not in written}
    for name, at in lost.items():
        # An answer that was on its way at the kill is noted a little later.
        assert any(-NOTED_S < killed - at < LOST_S for killed in killed_at), name
    print(f"{KILLS} kills, {len(answered)} answers, {len(lost)} without a row")
    assert len(answered) > 20 * KILLS
    found = verify(folder)
    assert found.problems == []
    assert len(found.heads) > KILLS


def test_a_picture_is_erased_while_the_server_writes(
    talkative: RunningServer, folder: Path
) -> None:
    """Also the row of a moment ago; the next answers have rows as before."""
    talkative.post(LIGHTHOUSE, headers={"X-Request-ID": "row-6"})
    maintenance.compact(folder)  # what the killed workers left is Parquet now
    picture = hashlib.sha256(LIGHTHOUSE).hexdigest()
    done = python("-m", "scripts.predictions", str(folder), "--erase-picture", picture)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 1
    for path in folder.iterdir():
        assert picture.encode() not in path.read_bytes()
    talkative.post(PARROTS, headers={"X-Request-ID": "row-7"})
    rows(folder, "row-7")
    assert "row-6" not in {row["data"].get("request_id") for row in reading.rows_of(folder)}
    done = python("-m", "scripts.predictions", str(folder), "--verify")
    assert done.returncode == 0, done.stdout


def test_an_ordered_stop_loses_no_row(talkative: RunningServer, folder: Path) -> None:
    """The last answer's row is there, and each segment is declared complete."""
    talkative.post(PARROTS, headers={"X-Request-ID": "row-8"})
    assert talkative.run("--stop").returncode == 0
    assert rows(folder, "row-8")
    found = verify(folder)
    assert found.problems == []
    assert not [one for one in found.notes if "without closing" in one]
    assert talkative.run("--detach").returncode == 0
    assert verify(folder).problems == []


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(
    server: RunningServer, make_server: MakeServer
) -> None:
    """Before anything is started."""
    other = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    done = other.run("--detach", "--prediction-log", "/proc/nowhere")
    assert done.returncode == 1
    assert "--prediction-log: expected a folder that can be written" in done.stderr
