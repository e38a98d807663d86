"""
Make a running server serve what the alias names, roll it back, say what it serves.

No request is lost on the way. How: `scripts.rollout`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from console import command_line
from scripts.rollout import cleanup, command_options, drain, named_server, status
from scripts.rollout.settings import Deployment
from scripts.server.http_client import NotNow
from training.registry.address import connect

# MLflow takes seconds to import, and a rollback has five: sync and status import it themselves.


def main(argv: list[str] | None = None) -> int:
    """Run one of the six."""
    arguments = command_options.parse(COMMANDS, argv)
    command = COMMANDS[arguments.command]
    return command_line.run(lambda: command(arguments), arguments.debug)


def _sync(arguments: argparse.Namespace) -> int:
    if arguments.from_registry:
        from scripts.archive import archives_in_registry

        # What follows reads it there.
        os.environ[archives_in_registry.VARIABLE] = archives_in_registry.REGISTRY
    connect(is_patient=False)
    if not arguments.watch:
        return _each(arguments, _sync_once)
    from scripts.rollout import follow_alias_process

    ears = follow_alias_process.Ears(
        webhook_host=arguments.webhook_host,
        webhook_port=arguments.webhook_port,
        metrics_host=arguments.metrics_host,
        metrics_port=arguments.metrics_port,
    )
    return follow_alias_process.watch(
        named_server.models(arguments),
        lambda model: named_server.plan(named_server.about(arguments, model)),
        ears,
        arguments.poll_s,
        retry=arguments.retry,
    )


def _sync_once(arguments: argparse.Namespace) -> int:
    from scripts.rollout.sync import sync

    plan = named_server.plan(arguments)
    try:
        if arguments.shadow is not None:
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
                cleanup.go_behind(plan, ["tidy", *named_server.words(arguments)], act)
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    from scripts.rollout.rollback import roll_back

    plan = named_server.plan(arguments)
    left, said = roll_back(plan)
    print(said, flush=True)
    if arguments.wait:
        _unload(plan, left)
    else:
        act = f"unloads version {left} in about {plan.longest_request_s:.0f} s"
        cleanup.go_behind(plan, ["drain", "--version", left, *named_server.words(arguments)], act)
    return 0


def _tidy(arguments: argparse.Namespace) -> int:
    for handler in logging.getLogger().handlers:  # of a process behind, which has no reader
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def unload(one: argparse.Namespace) -> int:
        cleanup.tidy(named_server.plan(one))
        return 0

    return _each(arguments, unload)


def _status(arguments: argparse.Namespace) -> int:
    connect(is_patient=False)
    found = {
        model.name: status.status_of(named_server.plan(named_server.about(arguments, model)))
        for model in named_server.models(arguments)
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
        lines = status.table(named_server.plan(one))
        print("\n".join([one.model_name, *lines] if arguments.all else lines))
        return 0

    return _each(arguments, show)


def _drain(arguments: argparse.Namespace) -> int:
    plan = named_server.plan(arguments)
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


def _each(arguments: argparse.Namespace, command: Callable[[argparse.Namespace], int]) -> int:
    """
    Run a command for each model that it is about; what fails for one is said, the others go on.

    Returns:
        0 if all succeeded.
    """
    models, statuses = named_server.models(arguments), []
    for model in models:
        try:
            statuses.append(command(named_server.about(arguments, model)))
        except command_line.EXPLAINED as error:
            if len(models) == 1 or arguments.debug:
                raise
            print(f"error: {model.name}: {error}", file=sys.stderr)
            statuses.append(command_line.FAILED)
    return max(statuses)


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "sync": _sync, "rollback": _rollback, "status": _status, "versions": _versions,
    "drain": _drain, "tidy": _tidy,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
