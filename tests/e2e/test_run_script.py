"""scripts/run_torchserve.sh: starts, refuses, stops, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripts.build_mar import main as build_mar
from scripts.server.log_lines import load_failure
from tests.deploying import wait_for
from tests.server import MakeServer, RunningServer, running


def test_the_first_words_tell_score_addresses_and_next_commands(fronted: RunningServer) -> None:
    """A start ends with a real score, the three addresses, and what to type next."""
    words = fronted.first_words
    assert "iqa version 1" in words
    for port in ("INFERENCE_PORT", "MANAGEMENT_PORT", "METRICS_PORT"):
        assert f"127.0.0.1:{fronted.environment[port]}/" in words
    assert fronted.environment["BACKEND_PORT"] not in words
    assert "curl -T" in words
    assert "--stop" in words


def test_the_front_is_there_by_default_and_not_with_no_front(
    server: RunningServer, fronted: RunningServer
) -> None:
    """One nginx has the inference port, TorchServe the one behind it; or TorchServe has it."""
    for one, fronts, name in ((server, 0, "INFERENCE_PORT"), (fronted, 1, "BACKEND_PORT")):
        found = [line for line in one.processes() if "nginx: master" in line]
        assert len(found) == fronts, one.processes()
        assert str(one.state()["ports"]["inference"]) == one.environment[name]
        told = one.run("--status")
        assert told.returncode == 0
        assert f"inference on port {one.environment['INFERENCE_PORT']}\n" in told.stdout
        assert one.score(_sample())["score"] > 0


def test_a_front_that_is_neither_on_nor_off_is_refused(make_server: MakeServer) -> None:
    """FRONT is 0 or 1, as the help says; nothing is guessed."""
    done = make_server().run("--detach", FRONT="off")
    assert done.returncode == 2
    assert "FRONT: expected 0 or 1, got 'off'." in done.stderr


def test_all_workers_are_ready_when_the_start_returns(fronted: RunningServer) -> None:
    """WORKERS decides how many processes score."""
    entry = fronted.manage()[0]
    assert [worker["status"] for worker in entry["workers"]] == ["READY", "READY"]
    assert entry["modelUrl"] == "iqa-1.mar"


def test_a_second_start_says_that_one_runs(fronted: RunningServer) -> None:
    """A second call changes nothing, says so, and fails."""
    before = fronted.members()
    done = fronted.run("--detach")
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert f"on port {fronted.environment['INFERENCE_PORT']}. Stop it" in done.stderr
    assert fronted.members() == before


def test_the_status_names_version_and_workers(fronted: RunningServer) -> None:
    """--status is a sentence for a person and an exit status for a script."""
    done = fronted.run("--status")
    assert done.returncode == 0
    assert "iqa version 1 from iqa-1.mar: 2 of 2 workers ready" in done.stdout


def test_an_archive_in_use_is_not_replaced(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """build_mar --replace refuses while the server serves that file, and leaves it as it is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.environment["MLFLOW_TRACKING_URI"])
    monkeypatch.setenv("IQA_STATE_DIR", str(server.state_dir))
    mar = server.model_store / "iqa-1.mar"
    original = mar.read_bytes()
    mar.write_bytes(original + b" ")  # other bytes under the same name
    try:
        assert build_mar(["--version", "1", "--out", str(server.model_store), "--replace"]) == 1
        assert "got one in use" in capsys.readouterr().err
        assert mar.read_bytes() == original + b" "
    finally:
        mar.write_bytes(original)


def test_a_missing_java_is_said_at_once(make_server: MakeServer, tmp_path: Path) -> None:
    """Without Java the start ends in seconds with one line that says what to install."""
    for tool in ("bash", "dirname", "sed", "head"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    started = time.monotonic()
    done = make_server().run("--detach", PATH=str(tmp_path), JAVA_HOME="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: java: expected 17 or later, found none.")
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - started < 5


def test_a_taken_port_is_named(server: RunningServer, make_server: MakeServer) -> None:
    """A port in use ends the start before anything is built or started."""
    other = make_server()
    taken = server.environment["INFERENCE_PORT"]
    done = other.run("--detach", INFERENCE_PORT=taken)
    assert done.returncode == 1
    assert f"port {taken} (INFERENCE_PORT): expected it free" in done.stderr
    assert not (other.state_dir / "server.json").exists()


def test_an_altered_archive_is_refused(server: RunningServer, make_server: MakeServer) -> None:
    """A MAR whose digest is not the registry's is not served; the way out is named."""
    uri = server.environment["MLFLOW_TRACKING_URI"]
    other = make_server(uri)
    other.model_store.mkdir()
    shutil.copy(server.model_store / "iqa-1.mar", other.model_store)
    with (other.model_store / "iqa-1.mar").open("r+b") as file:
        file.truncate(1_000_000)
    done = other.run("--detach")
    assert done.returncode == 1
    assert "iqa-1.mar: expected sha256" in done.stderr
    assert (
        "Rebuild: python -m scripts.build_mar --model-name iqa --version 1 --replace" in done.stderr
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_server_leaves_no_process_and_no_open_port(
    server: RunningServer, make_server: MakeServer, number: signal.Signals
) -> None:
    """A second server runs beside the first; Ctrl-C or TERM ends it and all it started."""
    other = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    process = subprocess.Popen(
        other.command(), env=other.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    words = []
    for line in process.stdout:
        words.append(line)
        if line.startswith("stop:"):
            break
    assert "Ctrl-C" in words[-1], "".join(words) + other.logs()
    assert server.score(_sample())["score"] == other.score(_sample())["score"]
    members = other.members()
    assert len(members) >= 3  # Java and two workers
    process.send_signal(number)
    assert process.wait(timeout=40) == 0
    assert running(members) == []
    assert other.processes() == []
    assert not (other.state_dir / "server.json").exists()
    assert server.score(_sample())["score"] > 0


def test_a_start_takes_the_port_of_a_front_that_was_left_behind(
    server: RunningServer, make_server: MakeServer
) -> None:
    """All but nginx and the gateway are killed: the next start ends both, and serves."""
    other = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    assert other.run("--detach").returncode == 0, other.logs()
    supervisor = json.loads((other.state_dir / "supervisor.json").read_text())["pid"]
    for pid in (supervisor, *other.members()):
        with contextlib.suppress(ProcessLookupError):  # a worker may end with Java
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(other.processes()) == 2, "the end of all but nginx and the gateway")
    left = other.processes()
    assert [name in " ".join(left) for name in ("nginx: master", "web.api:app")] == [True, True]
    assert other.post(_sample()).status_code == 503
    done = other.run("--detach")
    assert done.returncode == 0, done.stderr + other.logs()
    assert other.score(_sample())["score"] == server.score(_sample())["score"]
    assert not set(left) & set(other.processes())
    assert other.run("--stop").returncode == 0
    assert other.processes() == []


def test_a_registry_that_is_away_does_not_stop_a_start(
    server: RunningServer, make_server: MakeServer
) -> None:
    """With MLflow out of reach the last proven archive is served, and it is said."""
    other = make_server("http://127.0.0.1:9", server.model_store)
    # A proxy in the environment is not asked for this machine's own server.
    done = other.run("--detach", HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr + other.logs()
    assert "does not answer; serving the last proven archive, iqa-1.mar" in done.stderr
    assert other.score(_sample())["score"] == server.score(_sample())["score"]
    members = other.members()
    assert other.run("--stop").returncode == 0
    assert running(members) == []
    assert other.run("--status").returncode == 1


def test_a_start_under_way_can_be_stopped(server: RunningServer, make_server: MakeServer) -> None:
    """--stop ends a start that is not yet a server; nothing comes up afterwards."""
    other = make_server(server.environment["MLFLOW_TRACKING_URI"], server.model_store)
    process = subprocess.Popen(
        other.command("--detach"), env=other.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    log = other.state_dir / "logs" / "torchserve.log"
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    done = other.run("--stop")
    assert done.returncode == 0
    assert f"stopped the start of process {process.pid}" in done.stdout
    assert process.wait(timeout=30) == 130
    assert not (other.state_dir / "server.json").exists()
    listing = subprocess.run(
        ["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True
    )
    assert str(other.state_dir) not in listing.stdout
    assert other.run("--status").returncode == 1


def test_a_failed_load_is_told_by_its_own_traceback(tmp_path: Path) -> None:
    """The reason of a failed load is the exception's line, not TorchServe's "Worker died"."""
    log = tmp_path / "model_log.log"
    stamp = "2026-01-01T00:00:00,000 [INFO ] W-9000-iqa_1-stdout MODEL_LOG - "
    log.write_text(
        "".join(
            stamp + text + "\n"
            for text in (
                "Traceback (most recent call last):",
                '  File "iqa_handler.py", line 1, in initialize',
                "    boom()",
                "ValueError: runtime: expected one of auto, openvino, torch, got 'x'.",
                "Worker died.",
            )
        )
    )
    assert (
        load_failure(log) == "ValueError: runtime: expected one of auto, openvino, torch, got 'x'."
    )
    assert load_failure(tmp_path / "none.log") is None


def _sample() -> bytes:
    root = Path(os.path.dirname(__file__)).parent.parent
    return (root / "handler" / "golden" / "parrots.jpg").read_bytes()
