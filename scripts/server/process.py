"""Start TorchServe, wait until it can score, stop it and everything it started."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from console.paths import ROOT
from scripts.server import process_start
from scripts.server.addresses import Hosts, Ports
from scripts.server.client import LoadRefused, TorchServe, ready_workers
from scripts.server.http_client import LOOK_TIMEOUT_S, NoAnswer, NotNow
from scripts.server.log_lines import last_words, load_failure
from scripts.server.process_end import wait_until_ended
from scripts.server.state import Server, StateDir

START_TIMEOUT_S: Final = 90.0
STOP_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1


def start(
    mars: Mapping[str, Path],
    ports: Ports,
    workers: Mapping[str, int],
    state: StateDir,
    settings: Path = ROOT,
    hosts: Hosts | None = None,
) -> Server:
    """
    Start TorchServe; return as soon as its process runs and loads the archives.

    Args:
        mars: {model name: archive}, all in one folder, which becomes the model store.
        ports: Free ones.
        workers: {model name: processes that score}, each with the threads of
            `model-config.yaml`.
        state: Where it may write.
        settings: Folder of `config.properties` and `torchserve/`.
        hosts: Interfaces to listen on; None: loopback.

    Returns:
        The server; what it refused at once is in `refused`, and the others load.

    Raises:
        RuntimeError: Java did not start.
        LoadRefused: None of the archives can be loaded.
    """
    temporary = state.temporary
    for folder in (temporary, state.log_dir):
        folder.mkdir(parents=True, exist_ok=True)
    for log in (state.model_log, state.console_log):
        if log.exists():  # a failure of this start is read from this start's logs alone
            log.replace(log.with_suffix(".log.before"))
    pid_file = temporary / ".model_server.pid"
    pid_file.unlink(missing_ok=True)  # a stale one blocks the start
    store = next(iter(mars.values())).parent
    with state.console_log.open("w") as console:
        launcher = subprocess.Popen(
            [
                sys.executable, "-m", "ts.model_server", "--start",
                "--ts-config", str(settings / "config.properties"),
                "--log-config", str(settings / "torchserve" / "log4j2.xml"),
                "--model-store", str(store),
                "--ncs",  # snapshots are written and never restored when a config file is given
            ],
            cwd=state.path,  # neither handler/ nor iqa on the workers' way
            env=_environment(state, ports, hosts or Hosts(), max(workers.values()), store),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle, and the group ends as a whole
        )  # fmt: skip
        try:
            launcher.wait()  # it leaves Java behind and writes its process id
        except BaseException:  # Ctrl-C in this second: nobody else knows of the group yet
            os.killpg(launcher.pid, signal.SIGKILL)
            raise
    try:
        java = psutil.Process(int(pid_file.read_text()))
        server = Server(
            pid=java.pid,
            group=launcher.pid,
            started_at_s=process_start.started_at_s(java.pid),
            mars={},
            ports=ports,
        )
    except (OSError, ValueError, psutil.NoSuchProcess) as error:
        raise RuntimeError(f"TorchServe did not start: {last_words(state.console_log)}") from error
    try:
        for name, mar in mars.items():
            server = load(server, name, mar, workers[name], state)
        if not server.mars:
            raise LoadRefused(" ".join(server.refused.values()))
    except BaseException:
        stop(server)
        raise
    return server


def load(server: Server, name: str, mar: Path, workers: int, state: StateDir) -> Server:
    """
    Begin to load an archive, as soon as the management API answers.

    Not by `--models` at the start: the management API alone can set a batch delay of 0 ms.

    Returns:
        The server with the archive in `mars`, or with the reason in `refused`.

    Raises:
        RuntimeError: TorchServe ended, or does not answer.
    """
    others = {other: why for other, why in server.refused.items() if other != name}
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.process() is not None and time.monotonic() < deadline:
        try:
            TorchServe(server.addresses, name).load(mar.name, workers)
        except NoAnswer:  # it does not listen yet
            time.sleep(POLL_S / 2)
            continue
        except (LoadRefused, NotNow) as error:
            return dataclasses.replace(server, refused={**others, name: str(error)})
        mars = {**server.mars, name: str(mar)}
        return dataclasses.replace(server, mars=mars, refused=others)
    log = last_words(state.console_log)
    if server.process() is None:
        raise RuntimeError(f"TorchServe ended while starting: {log}")
    raise RuntimeError(
        f"TorchServe: expected an answer within {START_TIMEOUT_S:g} s, got none: {log}"
    )


def refuse(server: Server, name: str, reason: str) -> Server:
    """Unload a model that cannot serve, the others go on; return the server without it."""
    model = TorchServe(server.addresses, name)
    with contextlib.suppress(NotNow):  # a look tells that it is there and not ready
        for entry in model.entries("/all"):
            model.unload(str(entry["modelVersion"]))
    mars = {other: mar for other, mar in server.mars.items() if other != name}
    return dataclasses.replace(server, mars=mars, refused={**server.refused, name: reason})


def wait_until_ready(
    server: Server,
    workers: Mapping[str, int],
    state: StateDir,
    stopping: threading.Event | None = None,
) -> Server:
    """
    Wait until every worker of every model's default version can answer.

    A model that fails to load is unloaded, for TorchServe would start its workers again and again,
    and the others are waited for.

    `/ping` says Healthy from the first second on, even with no model at all; only the management
    API's worker states tell the truth.

    Args:
        server: Just started.
        workers: {model name: how many}.
        state: Where its logs are.
        stopping: Set where the wait is to be given up.

    Returns:
        The server; a model that did not load is in `refused`.

    Raises:
        RuntimeError: The process ended, or no model loaded in time.
        KeyboardInterrupt: `stopping` is set.
    """
    log = _relative(state.model_log)
    deadline = time.monotonic() + START_TIMEOUT_S
    waiting = set(server.mars)
    while time.monotonic() < deadline:
        if stopping is not None and stopping.is_set():
            raise KeyboardInterrupt
        if server.process() is None:
            raise RuntimeError(f"TorchServe ended while starting: {last_words(state.console_log)}")
        for name in sorted(waiting):
            ready, failure = _look(server, name, state)
            is_ready = ready >= workers[name]
            if is_ready or failure is not None:
                waiting.remove(name)
            if failure is not None and not is_ready:
                reason = f"the model did not load: {failure} (see {log})"
                if len(server.mars) == 1:  # nothing is left to serve
                    raise RuntimeError(reason)
                server = refuse(server, name, reason)
        if not waiting:
            return server
        time.sleep(POLL_S)
    for name in waiting:
        late = (
            f"TorchServe: expected {workers[name]} ready workers within {START_TIMEOUT_S:g} s, got "
            f"fewer: {last_words(state.console_log)} (see {_relative(state.log_dir)})"
        )
        if len(server.mars) == 1:
            raise RuntimeError(late)
        server = refuse(server, name, late)
    return server


def _look(server: Server, name: str, state: StateDir) -> tuple[int, str | None]:
    """Return how many workers of a model can answer, and why it does not load, if it does not."""
    try:
        entries = TorchServe(server.addresses, name).entries(timeout_s=LOOK_TIMEOUT_S)
    except NotNow:
        return 0, None
    if not entries:
        return 0, None
    thread = f"{name}_{entries[0]['modelVersion']}"
    return ready_workers(entries[0]), load_failure(state.model_log, thread=thread)


def stop(server: Server, patience_s: float = STOP_TIMEOUT_S) -> None:
    """
    Stop Java, then whatever is left of its process group; return when all are gone.

    Args:
        server: Alive, hung, or with workers left only.
        patience_s: For Java to end by itself; 0: all are killed at once.
    """
    process = server.process()
    members = _members(server.group)
    if process is not None and patience_s > 0:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        wait_until_ended([process], patience_s)
        # A busy worker outlives Java by seconds.
        members = wait_until_ended(members, 2.0)
    for left in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    wait_until_ended(members, STOP_TIMEOUT_S)


def _members(group: int) -> list[psutil.Process]:
    """Return TorchServe's processes of a group; its number may by now be somebody else's."""
    members = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline()) if os.getpgid(process.pid) == group else ""
        except (ProcessLookupError, psutil.Error):
            continue
        if any(mark in words for mark in ("org.pytorch.serve", "model_service_worker", "ts.model")):
            members.append(process)
    return members


def _environment(
    state: StateDir, ports: Ports, hosts: Hosts, workers: int, store: Path
) -> dict[str, str]:
    # PYTHONPATH would come before the MAR on the workers' way.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TS_CONFIG_FILE")}
    return {
        **inherited,
        "TEMP": str(state.temporary),
        "TMPDIR": str(state.temporary),
        "LOG_LOCATION": str(state.log_dir),
        "IQA_MODEL_STORE": str(store),  # the handler is not told which archive it came out of
        "METRICS_LOCATION": str(state.log_dir),
        "OMP_NUM_THREADS": "1",  # TorchServe never sets it; pools of all cores strangle each other
        "TS_INFERENCE_ADDRESS": f"http://{hosts.inference}:{ports.inference}",
        "TS_MANAGEMENT_ADDRESS": f"http://{hosts.management}:{ports.management}",
        "TS_METRICS_ADDRESS": f"http://{hosts.metrics}:{ports.metrics}",
        "TS_GRPC_INFERENCE_PORT": str(ports.grpc_inference),
        "TS_GRPC_MANAGEMENT_PORT": str(ports.grpc_management),
        "TS_DEFAULT_WORKERS_PER_MODEL": str(workers),
        "TS_METRICS_CONFIG": str(ROOT / "torchserve" / "metrics.yaml"),
    }


def _relative(path: Path) -> str:
    return os.path.relpath(path)
