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

from console import command_line
from console.default_names import ALIAS, MODEL_NAME
from console.numbers import number
from scripts.archive import mar_file
from scripts.archive.golden import shortly
from scripts.nginx import front_process
from scripts.nginx.settings import GATEWAY_SOCKET, OFF, Settings, from_environment, names_pattern
from scripts.server import prediction_log
from scripts.server.addresses import LOOPBACK, Hosts, Ports, bind_host
from scripts.server.cores import usable_cores
from scripts.server.free_ports import expect_free
from scripts.server.models import ServedModel, parse_models, with_workers
from scripts.server.start_lock import one_start_at_a_time
from scripts.server.state import Server, StateDir
from scripts.supervisor import gateway
from scripts.supervisor.detach import Behind, go_behind
from scripts.supervisor.gateway import WebSettings
from scripts.supervisor.readiness import Proof
from scripts.supervisor.settings import Plan
from scripts.supervisor.supervisor import Supervisor, on_signals

PORTS = {
    "inference": (8080, "of the inference API"),
    "management": (8081, "of the management API"),
    "metrics": (8082, "of the metrics API"),
    "health": (8083, "of /live and /ready; 0: none"),
    "backend": (8084, "of TorchServe behind the front; unused with --no-front"),
    "web": (8086, "of the gateway behind the front; unused with --no-web"),
}
SWITCH = {"": True, "1": True, "0": False}


def main(argv: list[str] | None = None) -> int:
    """Start, stop or describe this checkout's server."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    for name in ("front", "web"):
        if getattr(arguments, name) is None:
            variable = name.upper()
            parser.error(f"{variable}: expected 0 or 1, got {os.environ[variable]!r}.")
    if arguments.docker:
        from scripts import docker_up

        return docker_up.main([])
    if arguments.stop or arguments.status:
        from scripts.supervisor import stop_and_status

        wanted = stop_and_status.stop if arguments.stop else stop_and_status.status
        state = StateDir.from_environment()
        return command_line.run(lambda: wanted(state), arguments.debug)
    try:
        models = parse_models(arguments.models, arguments.alias)
        arguments.models = with_workers(models, arguments.workers, usable_cores())
    except ValueError as error:
        parser.error(str(error))
    return command_line.run(lambda: serve(arguments), arguments.debug)


def serve(arguments: argparse.Namespace) -> int:
    """
    Start the server and supervise it; behind, return once it serves.

    Returns:
        0 after a detached start or an ordered stop.
    """
    started_s = time.monotonic()
    plan = _plan(arguments)
    # TorchServe hands it to its workers, at a restart as well.
    os.environ[prediction_log.VARIABLE] = str(plan.prediction_log or "")
    with contextlib.ExitStack() as starting:
        starting.enter_context(one_start_at_a_time(plan.state))
        _expect_none(plan.state)
        if plan.front is not None:  # of a supervisor that was killed: it would hold the port
            front_process.stop_left_over(Path(plan.front["FRONT_DIR"]))
        gateway.stop_left_over(plan.state.path)
        web_port = plan.web.port if plan.web else None
        expect_free(plan.ports, plan.front_port, plan.health_port, web_port)
        behind: Behind | None = None
        if arguments.detach:
            status, behind = go_behind()
            if behind is None:
                return status
        stopping, hurry = threading.Event(), threading.Event()
        on_signals(stopping, hurry)

        def on_ready(server: Server, proofs: list[Proof]) -> None:
            _say(plan, server, proofs, time.monotonic() - started_s)
            starting.close()
            if behind is None:
                print("stop:        Ctrl-C", flush=True)
            else:
                print("stop:        scripts/run_torchserve.sh --stop", flush=True)
                behind.let_go(plan.state.log_dir / "supervisor.log")

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
        "--front", action=argparse.BooleanOptionalAction,
        default=SWITCH.get(os.environ.get("FRONT", "")),
        help="nginx on the inference port: takes what clients send, limits bodies and requests "
        "under way, refuses with Retry-After, stops without loss; --no-front leaves TorchServe "
        "alone on it [FRONT=0] (default: with it)",
    )  # fmt: skip
    parser.add_argument(
        "--web", action=argparse.BooleanOptionalAction,
        default=SWITCH.get(os.environ.get("WEB", "")),
        help="the page, /predict, /predict/batch, /health, /reload-model, /docs and the Open "
        "Inference Protocol on the inference port as well; there is none without the front "
        "[WEB=0] (default: with it)",
    )  # fmt: skip
    parser.add_argument(
        "--drain-s", type=number(at_least=0), default=os.environ.get("DRAIN_S") or 30.0,
        help="seconds that accepted requests get at a stop [DRAIN_S] (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", default=os.environ.get("WORKERS") or "", metavar="N|NAME=N,...",
        help="processes that score, one thread each; a number is for each model, iqa=2,other=1 by "
        "model [WORKERS] (default: for each model the usable cores)",
    )  # fmt: skip
    parser.add_argument(
        "--prediction-log", type=Path, metavar="DIR",
        default=os.environ.get(prediction_log.VARIABLE) or None,
        help="write a row for each answer of a model there, without pixels; read them with "
        "python -m scripts.predictions DIR [PREDICTION_LOG] (default: none)",
    )  # fmt: skip
    parser.add_argument("--alias", default=ALIAS, help="what to serve (default: %(default)s)")
    parser.add_argument(
        "--models", default=os.environ.get("MODELS") or MODEL_NAME, metavar="NAME[@ALIAS],...",
        help="registered models to serve, each with its own alias or --alias; one that does not "
        "load leaves the others alone [MODELS] (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--model-store", type=Path, default=mar_file.MODEL_STORE,
        help="folder of archives (default: model-store)",
    )  # fmt: skip
    parser.add_argument(
        "--from-store", action="store_true",
        help="ask no registry: serve the archive that was noted last in the model store, and wait "
        "for the first one. For a server beside `deploy sync --watch` in another container",
    )  # fmt: skip
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    hosts, state = Hosts.from_environment(), StateDir.from_environment()
    models: tuple[ServedModel, ...] = arguments.models
    has_front = arguments.front
    log: Path | None = arguments.prediction_log
    settings: Settings | None = None
    if has_front:
        upstream = f"{LOOPBACK}:{arguments.backend_port}"
        health = f"{LOOPBACK}:{arguments.health_port}" if arguments.health_port else upstream
        settings = {
            **from_environment(),
            "FRONT_LISTEN": f"{hosts.inference}:{arguments.inference_port}",
            "FRONT_UPSTREAM": upstream,
            # Without a supervisor's port /ready is asked of TorchServe, which knows no such path.
            "FRONT_HEALTH": health,
            "FRONT_DRAIN_S": f"{arguments.drain_s:.0f}",
            "FRONT_DIR": str(state.front),
            "FRONT_MODELS": names_pattern(model.name for model in models),
            "FRONT_WEB": f"{LOOPBACK}:{arguments.web_port}" if arguments.web else OFF,
        }
        hosts = Hosts(management=hosts.management, metrics=hosts.metrics)
    return Plan(
        models=models,
        store=arguments.model_store.resolve(),
        state=state,
        from_store=arguments.from_store,
        ports=Ports(
            inference=arguments.backend_port if has_front else arguments.inference_port,
            management=arguments.management_port,
            metrics=arguments.metrics_port,
        ),
        hosts=hosts,
        front=settings,
        front_log=state.log_dir / "front.log" if arguments.detach else None,
        web=_web(arguments, models, state) if has_front and arguments.web else None,
        web_log=state.log_dir / "web.log" if arguments.detach else None,
        health_host=bind_host("HEALTH_HOST"),
        health_port=arguments.health_port,
        drain_s=arguments.drain_s,
        prediction_log=log and prediction_log.prepared(log),
        debug=arguments.debug,
    )


def _web(
    arguments: argparse.Namespace, models: tuple[ServedModel, ...], state: StateDir
) -> WebSettings:
    health = f"{LOOPBACK}:{arguments.health_port or arguments.inference_port}"
    return WebSettings(
        port=arguments.web_port,
        inference_url=f"unix:{state.front / GATEWAY_SOCKET}",
        ready_url=f"http://{health}/ready",
        models=",".join(f"{model.name}@{model.alias}" for model in models),
    )


def _expect_none(state: StateDir) -> None:
    """
    Check that nothing of this checkout runs.

    Raises:
        RuntimeError: Something does.
    """
    server, supervision = state.server(), state.supervision()
    if server is not None:
        recorded = state.supervision_on_record()
        port = (recorded.front_port if recorded else None) or server.ports.inference
        what = f"process {server.pid} serves {', '.join(server.names)} on port {port}"
    elif supervision is not None:
        what = f"process {supervision.pid} is starting TorchServe again"
    else:
        return
    raise RuntimeError(f"already running: {what}. Stop it: scripts/run_torchserve.sh --stop")


def _say(plan: Plan, server: Server, proofs: list[Proof], waited_s: float) -> None:
    """Print each model's golden score, the addresses, and what to type next."""
    base = f"http://127.0.0.1:{plan.front_port or server.ports.inference}"
    for proof in proofs:
        sample = os.path.relpath(mar_file.HANDLER_DIR / "golden" / proof.file)
        reply = proof.reply
        print(
            f"{sample}: {shortly(reply)}, {proof.model_name} version "
            f"{reply['model']['version']}, {waited_s:.1f} s after the start"
        )
    print()
    if plan.web is not None:
        print(f"page:        {base}/")
        print(f"API:         {base}/docs")
    for name in server.mars:
        print(f"inference:   {base}/predictions/{name}")
    if plan.prediction_log is not None:
        print(f"answers:     python -m scripts.predictions {os.path.relpath(plan.prediction_log)}")
    for name in server.mars:
        print(f"management:  http://127.0.0.1:{server.ports.management}/models/{name}")
    print(f"metrics:     http://127.0.0.1:{server.ports.metrics}/metrics")
    if plan.health_port:
        print(f"ready:       http://127.0.0.1:{plan.health_port}/ready")
    first = proofs[0]
    sample = os.path.relpath(mar_file.HANDLER_DIR / "golden" / first.file)
    print(
        f"\ntry:         curl -T {sample} {base}/predictions/{first.model_name}\n"
        "status:      scripts/run_torchserve.sh --status",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
