"""Stop and describe this checkout's server, or what is left of it."""

from __future__ import annotations

import contextlib
import os

import psutil

from scripts.nginx import front_process
from scripts.server import prediction_log, process
from scripts.server.client import ready_workers
from scripts.server.http_client import LOOK_TIMEOUT_S, NotNow, get_json, is_alive
from scripts.server.process_end import wait_until_ended
from scripts.server.start_lock import interrupt_start
from scripts.server.state import StateDir, Supervision
from scripts.supervisor import gateway

STOP_TIMEOUT_S = 120.0
"""Longer than a drain and TorchServe's stop; after it all processes are killed."""
PING_TIMEOUT_S = 5.0


def stop(state: StateDir) -> int:
    """Stop this checkout's server, or a start that is under way; 0 also if none runs."""
    starter = interrupt_start(state)
    server, supervision = state.server_on_record(), state.supervision()
    supervisor = supervision.process() if supervision else None
    if supervisor is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor.terminate()
        for left in wait_until_ended([supervisor], STOP_TIMEOUT_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    # Where the supervisor is gone, or was killed: what it would have stopped.
    had_front = front_process.stop_left_over(state.front)
    gateway.stop_left_over(state.path)
    left_over = state.server_on_record()
    if left_over is not None:  # also where Java is gone and workers are left
        process.stop(left_over)
        state.forget_server()
    state.forget_supervision()
    if server is not None:
        print(f"stopped process {server.pid} and its workers")
    elif supervisor is not None or had_front:
        print("stopped what was left")
    else:
        print("not running" if starter is None else f"stopped the start of process {starter}")
    return 0


def status(state: StateDir) -> int:
    """Say what is served; 1 if nothing is, or not yet."""
    server, supervision = state.server(), state.supervision()
    if server is None:
        if supervision is None:
            print("not running")
        else:
            print(f"TorchServe is being started; {_supervisor(supervision)}")
        return 1
    try:
        defaults = [
            (model.model_name, model.entries(timeout_s=LOOK_TIMEOUT_S)) for model in server.models()
        ]
    except NotNow as error:
        print(f"process {server.pid} runs and does not answer: {error}")
        return 1
    recorded = state.supervision_on_record()
    front_port = recorded.front_port if recorded else None
    for name, entry in ((name, entries[0]) for name, entries in defaults if entries):
        print(
            f"{name} version {entry['modelVersion']} from {entry['modelUrl']}: "
            f"{ready_workers(entry)} of {len(entry['workers'])} workers ready, "
            f"process {server.pid}, inference on port {front_port or server.ports.inference}"
        )
    for name in (name for name, entries in defaults if not entries):
        why = server.refused.get(name, "look at python -m scripts.deploy status --all")
        print(f"{name}: no version is loaded: {why}")
    is_ready = all(entries and ready_workers(entries[0]) > 0 for _, entries in defaults)
    if not any(entries and ready_workers(entries[0]) > 0 for _, entries in defaults):
        logs = os.path.relpath(state.log_dir)
        print(f"process {server.pid} runs and has no ready worker (see {logs})")
    if front_port is not None and not is_alive(f"http://127.0.0.1:{front_port}", PING_TIMEOUT_S):
        is_ready = False
        print(
            f"the front does not answer on port {front_port}; behind it TorchServe is on port "
            f"{server.ports.inference}"
        )
    with contextlib.suppress(NotNow):
        logged = prediction_log.state_of(server)
        if logged is not None:
            print(logged)
    if supervision is None:
        print("no supervisor: nothing would start it again. Stop it, and start it anew")
    else:
        print(_supervisor(supervision))
    return 0 if is_ready else 1


def _supervisor(supervision: Supervision) -> str:
    """Return a line on the supervisor: its process, and what its health port answers."""
    who = f"supervisor: process {supervision.pid}"
    if not supervision.health_port:
        return who
    url = f"http://127.0.0.1:{supervision.health_port}"
    try:
        live, ready = get_json(f"{url}/live"), get_json(f"{url}/ready")
        restarts, reason = live["restarts"], ready["reason"]
    except (NotNow, ValueError, KeyError) as error:
        return f"{who}, does not answer: {error}"
    said = "ready" if ready["ready"] else f"not ready ({reason})"
    return f"{who}, {said}, {restarts} restarts"
