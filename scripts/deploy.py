"""
Make a running server serve what the alias names, roll it back, say what it serves.

No request is lost on the way. How: `scripts.rollout`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from console import command_line
from scripts.archive import mar_file
from scripts.rollout import cleanup, drain, status
from scripts.rollout.fleet import Fleet
from scripts.rollout.settings import CanarySteps, Deployment
from scripts.server.addresses import Addresses
from scripts.server.client import NotNow, TorchServe, get_json
from scripts.server.models import ServedModel, parse_models
from scripts.server.state import StateDir
from training.registry.address import connect

# MLflow takes seconds to import, and a rollback has five: sync and status import it themselves.

ALIAS: Final = "staging"
OPTIONS_OF: Final = {
    "sync": {
        "watch", "retry", "poll_s", "watch_s", "webhook_port", "webhook_host", "metrics_port",
        "metrics_host", "no_standby", "wait", "all", "from_registry", "canary", "shadow", "step_s",
        "min_answers", "score_shift", "fleet", "replica", "max_unavailable",
    },
    "rollback": {"wait"},
    "status": {"json", "all", "fleet", "replica"},
    "versions": {"all"},
    "drain": {"version", "end"},
    "tidy": {"no_standby", "all"},
}  # fmt: skip
"""Options that not all commands take."""


def main(argv: list[str] | None = None) -> int:
    """Run one of the six."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.deploy",
        description="sync: make the server serve what the alias names. rollback: back to the good "
        "version before, alias included. status: what is served and what should be. versions: "
        "all that are loaded or on record. drain: wait until the server, or a version, is idle. "
        "tidy: unload what serves no more once it is idle; sync starts this behind.",
        epilog="What each error means and what to do: docs/operations.md",
    )
    commands = {
        "sync": _sync, "rollback": _rollback, "status": _status, "versions": _versions,
        "drain": _drain, "tidy": _tidy,
    }  # fmt: skip
    parser.add_argument("command", choices=commands)
    command_line.add_model_name(parser, "registered model, and its name on the server")
    parser.add_argument(
        "--all", action="store_true",
        help="sync, status, versions, tidy: each model that the server should serve, or each of "
        "[MODELS], NAME[@ALIAS],...; what becomes of one does not touch the others",
    )  # fmt: skip
    parser.add_argument(
        "--alias",
        help=f"what to serve (default: what the server was started with, else {ALIAS})",
    )  # fmt: skip
    _add_server(parser)
    _add_sync(parser)
    status = parser.add_argument_group("status")
    status.add_argument("--json", action="store_true", help="one JSON object, for a machine")
    draining = parser.add_argument_group("drain")
    draining.add_argument("--version", help="drain one version and unload it, not the server")
    draining.add_argument("--end", action="store_true", help="the server may get requests again")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    for option in set().union(*OPTIONS_OF.values()) - OPTIONS_OF.get(arguments.command, set()):
        if getattr(arguments, option) != parser.get_default(option):
            takers = [command for command, options in OPTIONS_OF.items() if option in options]
            parser.error(f"--{option.replace('_', '-')}: expected with {' or '.join(takers)}.")
    if arguments.canary and arguments.shadow:
        parser.error("--canary, --shadow: expected one of them; look at copies first.")
    if arguments.shadow and (arguments.watch or arguments.all):
        parser.error("--shadow: expected without --watch and --all: it serves nothing by itself.")
    if arguments.all and arguments.model_name != parser.get_default("model_name"):
        parser.error("--all: expected without --model-name.")
    return command_line.run(lambda: commands[arguments.command](arguments), arguments.debug)


def _add_server(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group(
        "the server", "Without these, the one that scripts/run_torchserve.sh started here."
    )
    for name, port in (("inference", 8080), ("management", 8081), ("metrics", 8082)):
        where.add_argument(
            f"--{name}-url", default=os.environ.get(f"{name.upper()}_URL"),
            help=f"[{name.upper()}_URL], e.g. http://torchserve:{port}",
        )  # fmt: skip
    where.add_argument(
        "--health-url", default=os.environ.get("HEALTH_URL"),
        help="its supervisor's, which says whether it is ready [HEALTH_URL], e.g. "
        "http://torchserve:8083",
    )  # fmt: skip
    where.add_argument("--model-store", type=Path, help="its folder of archives, as seen from here")
    where.add_argument(
        "--longest-request-s", type=float, default=30.0,
        help="the server ends any request after this time, responseTimeout in "
        "torchserve/model-config.yaml (default: %(default)g)",
    )  # fmt: skip


def _add_sync(parser: argparse.ArgumentParser) -> None:
    sync = parser.add_argument_group("sync")
    sync.add_argument("--watch", action="store_true", help="follow the alias until TERM or Ctrl-C")
    sync.add_argument(
        "--retry", action="store_true",
        help="try a quarantined version once more, build a refused archive anew, end a hold",
    )  # fmt: skip
    sync.add_argument(
        "--from-registry", action="store_true",
        help="take archives that build_mar --publish stored with their versions, build none: no "
        "torch is needed [IQA_ARCHIVES=registry]",
    )  # fmt: skip
    sync.add_argument(
        "--fleet", type=Path, default=os.environ.get("IQA_FLEET"), metavar="DIR",
        help="sync, status: several servers of this machine follow the alias, and their side-cars "
        "share this folder: they take a version one after the other, and one that refuses it "
        "holds it back on the rest [IQA_FLEET]",
    )  # fmt: skip
    sync.add_argument(
        "--replica", default=os.environ.get("IQA_REPLICA"),
        help="with --fleet: name of this server (default: its management address) [IQA_REPLICA]",
    )  # fmt: skip
    sync.add_argument(
        "--max-unavailable", type=int, default=1, metavar="N",
        help="with --fleet: how many servers may be between two versions, or away, at once "
        "(default: %(default)d)",
    )  # fmt: skip
    sync.add_argument(
        "--watch-s", type=float, default=10.0,
        help="how long a new version is watched once it serves (default: %(default)g)",
    )  # fmt: skip
    sync.add_argument(
        "--canary", type=_shares, metavar="5,25,100",
        help="give the new version these shares of the requests, in percent, one after the other; "
        "each has to pass a comparison with the old version. Needs the front (docs/canary.md)",
    )  # fmt: skip
    sync.add_argument(
        "--shadow", type=float, metavar="PERCENT",
        help="send the new version copies of this share, tell how its scores differ, and leave "
        "what is served as it is. Needs the front and --prediction-log",
    )  # fmt: skip
    sync.add_argument(
        "--step-s", type=float, default=600.0,
        help="length of a step of --canary, or of --shadow (default: %(default)g)",
    )  # fmt: skip
    sync.add_argument(
        "--min-answers", type=int, default=30,
        help="requests that the new version is judged by at least, in each step; a step takes up "
        "to three times its length for them (default: %(default)d)",
    )  # fmt: skip
    sync.add_argument(
        "--score-shift", type=float, default=15.0, metavar="POINTS",
        help="with --canary: by how many points the share of scores below any tenth of the scale "
        "may differ from the old version's, beyond chance (default: %(default)g)",
    )  # fmt: skip
    sync.add_argument(
        "--no-standby", action="store_true",
        help="unload the version before: half the memory, and a rollback has to load it again",
    )  # fmt: skip
    sync.add_argument(
        "--wait", action="store_true",
        help="return only when all that serves no more is unloaded, half a minute later",
    )  # fmt: skip
    sync.add_argument(
        "--poll-s", type=float, default=15.0,
        help="with --watch: pause between two looks (default: %(default)g)",
    )  # fmt: skip
    sync.add_argument(
        "--webhook-port", type=int,
        help="with --watch: listen for MLflow's webhooks, signed with [IQA_WEBHOOK_SECRET]",
    )  # fmt: skip
    sync.add_argument(
        "--webhook-host", default="127.0.0.1",
        help="interface for the webhooks (default: %(default)s)",
    )  # fmt: skip
    sync.add_argument(
        "--metrics-port", type=int, default=0,
        help="with --watch: serve metrics at GET /metrics, for Prometheus (default: 0, none)",
    )  # fmt: skip
    sync.add_argument(
        "--metrics-host", default="127.0.0.1",
        help="interface for the metrics (default: %(default)s)",
    )  # fmt: skip


def _shares(text: str) -> tuple[float, ...]:
    """Return 5,25,100 as numbers, checked."""
    try:
        return CanarySteps(shares=tuple(float(part) for part in text.split(","))).shares
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--canary: ")) from error


def _sync(arguments: argparse.Namespace) -> int:
    if arguments.from_registry:
        from scripts.archive import published

        os.environ[published.VARIABLE] = published.REGISTRY  # what follows reads it there
    connect(is_patient=False)
    if not arguments.watch:
        return _each(arguments, _sync_once)
    from scripts.rollout import side_car

    ears = side_car.Ears(
        webhook_host=arguments.webhook_host,
        webhook_port=arguments.webhook_port,
        metrics_host=arguments.metrics_host,
        metrics_port=arguments.metrics_port,
    )
    return side_car.watch(
        _models(arguments),
        lambda model: _plan(_about(arguments, model)),
        ears,
        arguments.poll_s,
        retry=arguments.retry,
    )


def _sync_once(arguments: argparse.Namespace) -> int:
    from scripts.rollout.sync import sync

    plan = _plan(arguments)
    try:
        if arguments.shadow:
            from scripts.rollout import shadow

            print(shadow.compare(plan, arguments.shadow, arguments.step_s), flush=True)
        else:
            print(sync(plan, retry=arguments.retry), flush=True)
    finally:  # a refused version is unloaded as well
        with contextlib.suppress(NotNow):  # the server is away: the next sync tidies
            act = cleanup.due(plan)
            if act and arguments.wait:
                cleanup.tidy(plan)
            elif act:
                cleanup.go_behind(plan, ["tidy", *_words(arguments)], act)
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    from scripts.rollout.rollback import roll_back

    plan = _plan(arguments)
    left, said = roll_back(plan)
    print(said, flush=True)
    if arguments.wait:
        _unload(plan, left)
    else:
        act = f"unloads version {left} in about {plan.longest_request_s:.0f} s"
        cleanup.go_behind(plan, ["drain", "--version", left, *_words(arguments)], act)
    return 0


def _tidy(arguments: argparse.Namespace) -> int:
    for handler in logging.getLogger().handlers:  # of a process behind, which has no reader
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def unload(one: argparse.Namespace) -> int:
        cleanup.tidy(_plan(one))
        return 0

    return _each(arguments, unload)


def _status(arguments: argparse.Namespace) -> int:
    connect(is_patient=False)
    found = {
        model.name: status.status_of(_plan(_about(arguments, model)))
        for model in _models(arguments)
    }
    if arguments.json:
        told = found if arguments.all else next(iter(found.values()))
        print(json.dumps(told, indent=2))
    else:
        for name, one in found.items():
            print(f"{name}: " * arguments.all + status.sentence(one))
    return 0 if all(map(status.is_good, found.values())) else 1


def _versions(arguments: argparse.Namespace) -> int:
    connect(is_patient=False)

    def show(one: argparse.Namespace) -> int:
        lines = status.table(_plan(one))
        print("\n".join([one.model_name, *lines] if arguments.all else lines))
        return 0

    return _each(arguments, show)


def _drain(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    if arguments.end:
        drain.end(plan.state)
        print("the server may get requests again")
        return 0
    if arguments.version:
        default = plan.server.default()
        if default is not None and default.version == arguments.version:
            raise ValueError(
                f"version {arguments.version}: expected one that does not serve, got the default "
                "one. Let another one serve first, or drain the server: drain without --version"
            )
        if not _unload(plan, arguments.version):
            raise NotNow(f"version {arguments.version}: expected it idle, got requests for it.")
        return 0
    server = plan.state.server() if plan.is_local else None
    models = server.models() if server else [plan.server]
    if not drain.drain_all(models, plan.state, plan.longest_request_s):
        raise NotNow(
            "server: expected it idle, got requests still. Stop whoever sends them, and again: "
            "python -m scripts.deploy drain"
        )
    print("idle: nothing waits and nothing is being scored. Requests again: drain --end")
    return 0


def _unload(plan: Deployment, version: str) -> bool:
    """Drain a version and unload it; a sync that runs ends first, for it may have chosen it."""
    with plan.records.one_tidying_at_a_time():
        return drain.unload_idle(
            plan,
            version,
            plan.longest_request_s,
            exclusive=plan.records.one_sync_at_a_time,
        )


def _models(arguments: argparse.Namespace) -> tuple[ServedModel, ...]:
    """
    Return the models that a command is about, each with its alias.

    Raises:
        NotNow: All are meant, and nobody says which these are.
    """
    server = StateDir.from_environment().server() if not arguments.management_url else None
    wanted = server.wanted if server is not None else ()
    if not arguments.all:
        own = {model.name: model.alias for model in wanted}
        name = arguments.model_name
        return (ServedModel(name=name, alias=arguments.alias or own.get(name, ALIAS)),)
    named = os.environ.get("MODELS")
    if wanted:
        models = wanted
    elif named:
        models = parse_models(named, ALIAS)
    elif arguments.health_url:
        told = get_json(f"{arguments.health_url.rstrip('/')}/models")
        models = tuple(ServedModel(name=name, alias=one["alias"]) for name, one in told.items())
    else:
        raise NotNow(
            "--all: expected a server of this checkout that runs, MODELS=NAME[@ALIAS],... in the "
            "environment, or --health-url, got none of them. Name one model: --model-name NAME"
        )
    if arguments.alias:
        return tuple(dataclasses.replace(model, alias=arguments.alias) for model in models)
    return models


def _about(arguments: argparse.Namespace, model: ServedModel) -> argparse.Namespace:
    """Return the arguments as if they had named this model alone."""
    own = {"model_name": model.name, "alias": model.alias, "all": False}
    return argparse.Namespace(**{**vars(arguments), **own})


def _each(arguments: argparse.Namespace, command: Callable[[argparse.Namespace], int]) -> int:
    """
    Run a command for each model that it is about; what fails for one is said, the others go on.

    Returns:
        0 if all succeeded.
    """
    models, statuses = _models(arguments), []
    for model in models:
        try:
            statuses.append(command(_about(arguments, model)))
        except command_line.EXPLAINED as error:
            if len(models) == 1 or arguments.debug:
                raise
            print(f"error: {model.name}: {error}", file=sys.stderr)
            statuses.append(command_line.FAILED)
    return max(statuses)


def _words(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a background command for the same server."""
    words = ["--model-name", arguments.model_name]
    words += ["--alias", arguments.alias] if arguments.alias else []
    words += ["--longest-request-s", str(arguments.longest_request_s)]
    for kind in ("inference", "management", "metrics", "health"):
        url = getattr(arguments, f"{kind}_url")
        words += [f"--{kind}-url", url] if url else []
    if arguments.model_store is not None:
        words += ["--model-store", str(arguments.model_store.resolve())]
    return words + (["--no-standby"] if arguments.no_standby else [])


def _plan(arguments: argparse.Namespace) -> Deployment:
    """Return what to deploy where: the server named, or else this checkout's."""
    urls = [arguments.inference_url, arguments.management_url, arguments.metrics_url]
    store, state = arguments.model_store, StateDir.from_environment()
    health_url = arguments.health_url
    if all(urls):
        inference, management, metrics = (url.rstrip("/") for url in urls)
        addresses = Addresses(inference=inference, management=management, metrics=metrics)
    elif any(urls):
        raise ValueError("the server: expected all three addresses or none, got some.")
    else:
        server = state.server()
        if server is None:
            raise NotNow(
                "the server: expected one that runs, got none. Start it: "
                "scripts/run_torchserve.sh --detach, or name one by --inference-url, "
                "--management-url and --metrics-url."
            )
        if arguments.model_name not in server.names:
            raise NotNow(
                f"model '{arguments.model_name}': expected one that this server was started with, "
                f"{', '.join(server.names)}. Start it with both: scripts/run_torchserve.sh "
                f"--models {','.join([*server.names, arguments.model_name])}"
            )
        addresses = server.addresses
        supervision = state.supervision()
        if supervision is not None and supervision.health_port:
            health_url = health_url or f"http://127.0.0.1:{supervision.health_port}"
        store = store or server.store
    return Deployment(
        server=TorchServe(addresses, arguments.model_name),
        store=(store or mar_file.MODEL_STORE).resolve(),
        state=state,
        is_local=not any(urls),
        health_url=health_url.rstrip("/") if health_url else None,
        alias=_models(arguments)[0].alias,
        watch_s=arguments.watch_s,
        longest_request_s=arguments.longest_request_s,
        keeps_previous=not arguments.no_standby,
        canary=arguments.canary
        and CanarySteps(
            shares=arguments.canary,
            step_s=arguments.step_s,
            min_answers=arguments.min_answers,
            score_shift=arguments.score_shift / 100,
        ),
        fleet=arguments.fleet
        and Fleet(
            folder=Path(arguments.fleet).absolute(),
            model_name=arguments.model_name,
            replica=arguments.replica or urlsplit(addresses.management).netloc,
            max_unavailable=arguments.max_unavailable,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
