"""
Serve what the alias names: the body of `scripts/run_torchserve.sh`.

Finds or builds the archive, starts TorchServe, says it is up only after a real prediction, and
stays as its supervisor, in the foreground or, with --detach, behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from scripts import archive, front, server_state, torchserve_process
from scripts.detach import Behind, go_behind
from scripts.hosts import LOOPBACK, Hosts, bind_host
from scripts.server_api import Ports
from scripts.server_state import Server
from scripts.serving_plan import Plan
from scripts.start_lock import one_start_at_a_time
from scripts.supervise import Supervisor, on_signals
from scripts.usable_cores import usable_cores
from training import command_line
from training.tracking_uri import add_tracking_uri

SUPERVISOR_LOG = server_state.LOG_DIR / "supervisor.log"
FRONT_LOG = server_state.LOG_DIR / "front.log"
PORTS = {
    "inference": (8080, "of the inference API"),
    "management": (8081, "of the management API"),
    "metrics": (8082, "of the metrics API"),
    "health": (8083, "of /live and /ready; 0: none"),
    "backend": (8084, "of TorchServe behind the front; only with --front"),
}


def main(argv: list[str] | None = None) -> int:
    """Start, stop or describe this checkout's server."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers: expected at least 1, got {arguments.workers}.")
    if arguments.drain_s < 0:
        parser.error(f"--drain-s: expected at least 0, got {arguments.drain_s:g}.")
    if arguments.docker:
        from scripts import docker_up

        return docker_up.main([])
    if arguments.stop or arguments.status:
        from scripts import server_control

        wanted = server_control.stop if arguments.stop else server_control.status
        return command_line.run(wanted, arguments.debug)
    return command_line.run(lambda: serve(arguments), arguments.debug)


def serve(arguments: argparse.Namespace) -> int:
    """
    Start the server and supervise it; behind, return once it serves.

    Returns:
        0 after a detached start or an ordered stop.
    """
    started_s = time.monotonic()
    plan = _plan(arguments)
    with contextlib.ExitStack() as starting:
        starting.enter_context(one_start_at_a_time())
        _expect_none()
        torchserve_process.expect_free(plan.ports, plan.front_port, plan.health_port)
        behind: Behind | None = None
        if arguments.detach:
            status, behind = go_behind()
            if behind is None:
                return status
        stopping, hurry = threading.Event(), threading.Event()
        on_signals(stopping, hurry)

        def on_ready(server: Server, reply: dict[str, Any]) -> None:
            _say(plan, server, reply, time.monotonic() - started_s)
            starting.close()
            if behind is None:
                print("stop:        Ctrl-C", flush=True)
            else:
                print("stop:        scripts/run_torchserve.sh --stop", flush=True)
                behind.let_go(SUPERVISOR_LOG)

        Supervisor(plan, stopping, hurry).run(on_ready)
    print("stopped", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/run_torchserve.sh",
        description="Serve the registry's staging version with TorchServe, and start it again when "
        "it dies. In the foreground: Ctrl-C answers what was accepted and stops everything; a "
        "second one does not wait.",
        epilog="Each option may also be given by the environment variable in brackets. All ports "
        "are on 127.0.0.1; between containers INFERENCE_HOST, MANAGEMENT_HOST, METRICS_HOST and "
        "HEALTH_HOST may be 0.0.0.0. Whoever reaches the management port owns the server: only on "
        "a network of its own. IQA_STATE_DIR and LOG_LOCATION say where it may write.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detach", action="store_true", help="return once it serves; see --stop")
    what.add_argument("--stop", action="store_true", help="stop this checkout's server")
    what.add_argument("--status", action="store_true", help="say what is served; 1 if nothing is")
    what.add_argument(
        "--docker", action="store_true",
        help="the whole system in containers instead, see docs/docker.md; needs Docker alone",
    )  # fmt: skip
    for name, (port, purpose) in PORTS.items():
        variable = f"{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port", type=int, default=os.environ.get(variable) or port,
            help=f"port {purpose} [{variable}] (default: {port})",
        )  # fmt: skip
    parser.add_argument(
        "--front", action="store_true", default=os.environ.get("FRONT", "") not in ("", "0"),
        help="nginx on the inference port: limits bodies and requests under way, refuses with "
        "Retry-After, stops without loss [FRONT=1]",
    )  # fmt: skip
    parser.add_argument(
        "--drain-s", type=float, default=os.environ.get("DRAIN_S") or 30.0,
        help="seconds that accepted requests get at a stop [DRAIN_S] (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=os.environ.get("WORKERS") or usable_cores(),
        help="processes that score, one thread each [WORKERS] (default: the usable cores)",
    )  # fmt: skip
    parser.add_argument("--alias", default="staging", help="what to serve (default: %(default)s)")
    parser.add_argument(
        "--model-store", type=Path, default=archive.MODEL_STORE,
        help="folder of archives (default: model-store)",
    )  # fmt: skip
    parser.add_argument(
        "--from-store", action="store_true",
        help="ask no registry: serve the archive that was noted last in the model store, and wait "
        "for the first one. For a server beside `deploy sync --watch` in another container",
    )  # fmt: skip
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    hosts = Hosts.from_environment()
    has_front = arguments.front
    settings: front.Settings | None = None
    if has_front:
        upstream = f"{LOOPBACK}:{arguments.backend_port}"
        health = f"{LOOPBACK}:{arguments.health_port}" if arguments.health_port else upstream
        settings = {
            **front.defaults(),
            **{name: os.environ[name] for name in front.HELP if os.environ.get(name)},
            "FRONT_LISTEN": f"{hosts.inference}:{arguments.inference_port}",
            "FRONT_UPSTREAM": upstream,
            # Without a supervisor's port /ready is asked of TorchServe, which knows no such path.
            "FRONT_HEALTH": health,
            "FRONT_DRAIN_S": f"{arguments.drain_s:.0f}",
        }
        hosts = Hosts(management=hosts.management, metrics=hosts.metrics)
    return Plan(
        alias=arguments.alias,
        store=arguments.model_store.resolve(),
        from_store=arguments.from_store,
        ports=Ports(
            inference=arguments.backend_port if has_front else arguments.inference_port,
            management=arguments.management_port,
            metrics=arguments.metrics_port,
        ),
        hosts=hosts,
        workers=arguments.workers,
        front=settings,
        front_log=FRONT_LOG if arguments.detach else None,
        health_host=bind_host("HEALTH_HOST"),
        health_port=arguments.health_port,
        drain_s=arguments.drain_s,
        debug=arguments.debug,
    )


def _expect_none() -> None:
    """
    Check that nothing of this checkout runs.

    Raises:
        RuntimeError: Something does.
    """
    server, supervision = server_state.read(), server_state.read_supervision()
    if server is not None:
        port = (supervision.front_port if supervision else None) or server.ports.inference
        what = f"process {server.pid} serves {Path(server.mar).name} on port {port}"
    elif supervision is not None:
        what = f"process {supervision.pid} is starting TorchServe again"
    else:
        return
    raise RuntimeError(f"already running: {what}. Stop it: scripts/run_torchserve.sh --stop")


def _say(plan: Plan, server: Server, reply: dict[str, Any], waited_s: float) -> None:
    sample = os.path.relpath(archive.HANDLER_DIR / "golden" / str(reply["file"]))
    inference = f"http://127.0.0.1:{plan.front_port or server.ports.inference}/predictions/iqa"
    ready = f"ready:       http://127.0.0.1:{plan.health_port}/ready\n" if plan.health_port else ""
    print(
        f"{sample}: {reply['score']:.2f} ({reply['label']}), iqa version "
        f"{reply['model']['version']}, {waited_s:.1f} s after the start\n"
        f"\n"
        f"inference:   {inference}\n"
        f"management:  http://127.0.0.1:{server.ports.management}/models/iqa\n"
        f"metrics:     http://127.0.0.1:{server.ports.metrics}/metrics\n"
        f"{ready}"
        f"\n"
        f"try:         curl -T {sample} {inference}\n"
        f"status:      scripts/run_torchserve.sh --status",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
