"""
Serve what the alias names: the body of `scripts/run_torchserve.sh`.

Finds or builds the archive, starts TorchServe, and says it is up only after a real prediction.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from scripts import archive, server_state, torchserve_process
from scripts.server_api import Ports, describe, predict, ready_workers
from scripts.server_state import Server
from training import command_line

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # of cgroup v2; in a container, the container's
SAMPLE = archive.HANDLER_DIR / "golden" / "parrots.jpg"
# Of a point. A CPU without bf16 serves such a graph in float32, and two with it round differently.
MAX_SCORE_DIFFERENCE = {"f32": 0.05, "bf16": 1.0, "int8": 1.0}


def main(argv: list[str] | None = None) -> int:
    """Start, stop or describe this checkout's server."""
    parser = argparse.ArgumentParser(
        prog="scripts/run_torchserve.sh",
        description="Serve the registry's staging version with TorchServe, on this machine only. "
        "In the foreground: Ctrl-C stops everything.",
        epilog="Each option may also be given by the environment variable in brackets.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detach", action="store_true", help="return once it serves; see --stop")
    what.add_argument("--stop", action="store_true", help="stop this checkout's server")
    what.add_argument("--status", action="store_true", help="say what is served; 1 if nothing is")
    defaults = Ports()
    for name in ("inference", "management", "metrics"):
        variable = f"{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port", type=int,
            default=os.environ.get(variable) or getattr(defaults, name),
            help=f"port of the {name} API [{variable}] (default: {getattr(defaults, name)})",
        )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=os.environ.get("WORKERS") or usable_cores(),
        help="processes that score, one thread each [WORKERS] (default: the usable cores)",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", default=None,
        help="MLflow [MLFLOW_TRACKING_URI] (default: mlflow.db at the root, embedded)",
    )  # fmt: skip
    parser.add_argument("--alias", default="staging", help="what to serve (default: %(default)s)")
    parser.add_argument(
        "--model-store", type=Path, default=archive.MODEL_STORE,
        help="folder of archives (default: model-store)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers: expected at least 1, got {arguments.workers}.")
    if arguments.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = arguments.tracking_uri
    if arguments.stop:
        return command_line.run(stop, arguments.debug)
    if arguments.status:
        return command_line.run(status, arguments.debug)
    return command_line.run(lambda: serve(arguments), arguments.debug)


def serve(arguments: argparse.Namespace) -> int:
    """
    Start the server; in the foreground, stay until it ends.

    Returns:
        0 after a detached start or an ordered stop, 1 if TorchServe ended by itself.
    """
    started_s = time.monotonic()
    ports = Ports(
        inference=arguments.inference_port,
        management=arguments.management_port,
        metrics=arguments.metrics_port,
    )
    with _one_start_at_a_time():
        running = server_state.read()
        if running is not None:
            raise RuntimeError(
                f"already running: process {running.pid} serves {Path(running.mar).name} on port "
                f"{running.ports.inference}. Stop it: scripts/run_torchserve.sh --stop"
            )
        # From here on Ctrl-C, TERM and a closed terminal end as an exception: all is stopped.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        torchserve_process.expect_free(ports)
        from scripts.served_archive import served_archive  # MLflow takes seconds to import

        mar = served_archive(arguments.alias, arguments.model_store.resolve())
        server = torchserve_process.start(mar, ports, arguments.workers)
        try:
            server_state.write(server)
            torchserve_process.wait_until_ready(server, arguments.workers)
            _score_sample(server, time.monotonic() - started_s)
        except BaseException:
            _shut_down(server)
            raise
    if arguments.detach:
        print("stop:        scripts/run_torchserve.sh --stop", flush=True)
        return 0
    print("stop:        Ctrl-C", flush=True)
    return _stay(server)


def stop() -> int:
    """Stop this checkout's server, or a start that is under way; 0 also if none runs."""
    starter = _interrupt_start()
    server = server_state.read_file()
    if server is not None:  # also where Java is gone and workers are left
        _shut_down(server)
        print(f"stopped process {server.pid} and its workers")
    else:
        print("not running" if starter is None else f"stopped the start of process {starter}")
    return 0


def status() -> int:
    """Say what is served; 1 if nothing is, or not yet."""
    server = server_state.read()
    if server is None:
        print("not running")
        return 1
    try:
        entries = describe(server.ports.management)
    except requests.RequestException as error:
        print(f"process {server.pid} runs and does not answer: {error}")
        return 1
    for entry in entries:
        print(
            f"iqa version {entry['modelVersion']} from {entry['modelUrl']}: "
            f"{ready_workers(entry)} of {len(entry['workers'])} workers ready, "
            f"process {server.pid}, inference on port {server.ports.inference}"
        )
    is_ready = bool(entries) and ready_workers(entries[0]) > 0
    if not is_ready:
        print(f"process {server.pid} runs and has no ready worker (see {server_state.LOG_DIR})")
    return 0 if is_ready else 1


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its affinity and its cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = CPU_MAX.read_text().split()
        if quota != "max":
            cores = min(cores or 1, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2: the affinity is all there is to know
    return max(cores or 1, 1)


def _score_sample(server: Server, waited_s: float) -> None:
    ports = server.ports
    code, reply = predict(f"http://127.0.0.1:{ports.inference}", SAMPLE.read_bytes())
    provenance = archive.read_provenance(Path(server.mar))
    expected = next(item["score"] for item in provenance["golden"] if item["file"] == SAMPLE.name)
    max_difference = MAX_SCORE_DIFFERENCE[provenance["precision"]]
    if code != 200 or not abs(reply["score"] - expected) <= max_difference:
        raise RuntimeError(f"{SAMPLE.name}: expected the score {expected}, got {code} {reply}.")
    sample = os.path.relpath(SAMPLE)
    print(
        f"{sample}: {reply['score']:.2f} ({reply['label']}), iqa version "
        f"{reply['model']['version']}, {waited_s:.1f} s after the start\n"
        f"\n"
        f"inference:   http://127.0.0.1:{ports.inference}/predictions/iqa\n"
        f"management:  http://127.0.0.1:{ports.management}/models/iqa\n"
        f"metrics:     http://127.0.0.1:{ports.metrics}/metrics\n"
        f"\n"
        f"try:         curl -T {sample} http://127.0.0.1:{ports.inference}/predictions/iqa\n"
        f"status:      scripts/run_torchserve.sh --status",
        flush=True,
    )


def _stay(server: Server) -> int:
    """Wait until the server ends or somebody wants it to."""
    try:
        while (process := server.process()) is not None:
            psutil.wait_procs([process], timeout=1.0)
    except KeyboardInterrupt:
        _shut_down(server)
        print("stopped")
        return 0
    if server_state.read_file() is None:
        print("stopped by --stop")
        return 0
    _shut_down(server)
    raise RuntimeError(f"TorchServe ended by itself (see {os.path.relpath(server_state.LOG_DIR)})")


def _shut_down(server: Server) -> None:
    torchserve_process.ignore_interrupts()
    # Forgotten first: a foreground start that watches then knows that this end is meant.
    server_state.clear()
    torchserve_process.stop(server)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _one_start_at_a_time() -> Iterator[None]:
    server_state.STATE_DIR.mkdir(parents=True, exist_ok=True)
    with (server_state.STATE_DIR / "start.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(
                "another start is under way in this checkout. Wait for it, then: "
                "scripts/run_torchserve.sh --status"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _interrupt_start() -> int | None:
    """End a start that is under way in this checkout; return its process id, or None."""
    try:
        lock = (server_state.STATE_DIR / "start.lock").open()
    except FileNotFoundError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            starter = int(lock.read() or 0)
        if starter:
            with contextlib.suppress(ProcessLookupError):
                os.kill(starter, signal.SIGTERM)
        fcntl.flock(lock, fcntl.LOCK_SH)  # until it has cleaned up
        return starter


if __name__ == "__main__":
    sys.exit(main())
