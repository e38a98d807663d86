"""The options of `python -m scripts.deploy`: which command takes which, and what goes together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from console import command_line
from console.default_names import ALIAS
from console.numbers import number
from scripts.rollout.settings import CanarySteps

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


def parse(commands: Iterable[str], argv: list[str] | None) -> argparse.Namespace:
    """
    Return the arguments of a command, checked; a mistake ends the process with status 2.

    Args:
        commands: Their names.
        argv: Words of the command line; None: this process's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scripts.deploy",
        description="sync: make the server serve what the alias names. rollback: back to the good "
        "version before, alias included. status: what is served and what should be. versions: "
        "all that are loaded or on record. drain: wait until the server, or a version, is idle. "
        "tidy: unload what serves no more once it is idle; sync starts this behind.",
        epilog="What each error means and what to do: docs/operations.md",
    )
    parser.add_argument("command", choices=list(commands))
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
    _add_steps(parser)
    _add_fleet(parser)
    _add_watch(parser)
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
    if arguments.canary is not None and arguments.shadow is not None:
        parser.error("--canary, --shadow: expected one of them; look at copies first.")
    if arguments.shadow is not None and (arguments.watch or arguments.all):
        parser.error("--shadow: expected without --watch and --all: it serves nothing by itself.")
    if arguments.all and arguments.model_name != parser.get_default("model_name"):
        parser.error("--all: expected without --model-name.")
    return arguments


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
        "--longest-request-s", type=number(above=0), default=30.0,
        help="the server ends any request after this time, responseTimeout in "
        "torchserve/model-config.yaml (default: %(default)g)",
    )  # fmt: skip


def _add_sync(parser: argparse.ArgumentParser) -> None:
    sync = parser.add_argument_group("sync")
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
        "--watch-s", type=number(at_least=0), default=10.0,
        help="how long a new version is watched once it serves (default: %(default)g)",
    )  # fmt: skip
    sync.add_argument(
        "--no-standby", action="store_true",
        help="unload the version before: half the memory, and a rollback has to load it again",
    )  # fmt: skip
    sync.add_argument(
        "--wait", action="store_true",
        help="return only when all that serves no more is unloaded, half a minute later",
    )  # fmt: skip


def _add_steps(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_argument_group("sync by steps")
    steps.add_argument(
        "--canary", type=_shares, metavar="5,25,100",
        help="give the new version these shares of the requests, in percent, one after the other; "
        "each has to pass a comparison with the old version. Needs the front (docs/canary.md)",
    )  # fmt: skip
    steps.add_argument(
        "--shadow", type=number(above=0, at_most=100), metavar="PERCENT",
        help="send the new version copies of this share, tell how its scores differ, and leave "
        "what is served as it is. Needs the front and --prediction-log",
    )  # fmt: skip
    steps.add_argument(
        "--step-s", type=number(above=0), default=600.0,
        help="length of a step of --canary, or of --shadow (default: %(default)g)",
    )  # fmt: skip
    steps.add_argument(
        "--min-answers", type=int, default=30,
        help="requests that the new version is judged by at least, in each step; a step takes up "
        "to three times its length for them (default: %(default)d)",
    )  # fmt: skip
    steps.add_argument(
        "--score-shift", type=float, default=15.0, metavar="POINTS",
        help="with --canary: by how many points the share of scores below any tenth of the scale "
        "may differ from the old version's, beyond chance (default: %(default)g)",
    )  # fmt: skip


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    fleet = parser.add_argument_group("sync in a fleet")
    fleet.add_argument(
        "--fleet", type=Path, default=os.environ.get("IQA_FLEET"), metavar="DIR",
        help="sync, status: several servers of this machine follow the alias, and their side-cars "
        "share this folder: they take a version one after the other, and one that refuses it "
        "holds it back on the rest [IQA_FLEET]",
    )  # fmt: skip
    fleet.add_argument(
        "--replica", default=os.environ.get("IQA_REPLICA"),
        help="with --fleet: name of this server (default: its management address) [IQA_REPLICA]",
    )  # fmt: skip
    fleet.add_argument(
        "--max-unavailable", type=int, default=1, metavar="N",
        help="with --fleet: how many servers may be between two versions, or away, at once "
        "(default: %(default)d)",
    )  # fmt: skip


def _add_watch(parser: argparse.ArgumentParser) -> None:
    watch = parser.add_argument_group("sync all the time")
    watch.add_argument("--watch", action="store_true", help="follow the alias until TERM or Ctrl-C")
    watch.add_argument(
        "--poll-s", type=number(above=0), default=15.0,
        help="with --watch: pause between two looks (default: %(default)g)",
    )  # fmt: skip
    watch.add_argument(
        "--webhook-port", type=int,
        help="with --watch: listen for MLflow's webhooks, signed with [IQA_WEBHOOK_SECRET]",
    )  # fmt: skip
    watch.add_argument(
        "--webhook-host", default="127.0.0.1",
        help="interface for the webhooks (default: %(default)s)",
    )  # fmt: skip
    watch.add_argument(
        "--metrics-port", type=int, default=0,
        help="with --watch: serve metrics at GET /metrics, for Prometheus (default: 0, none)",
    )  # fmt: skip
    watch.add_argument(
        "--metrics-host", default="127.0.0.1",
        help="interface for the metrics (default: %(default)s)",
    )  # fmt: skip


def _shares(text: str) -> tuple[float, ...]:
    """Return 5,25,100 as numbers, checked."""
    try:
        return CanarySteps(shares=tuple(float(part) for part in text.split(","))).shares
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--canary: ")) from error
