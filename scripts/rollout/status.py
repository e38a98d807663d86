"""What is served and what should be: the body of `python -m scripts.deploy status | versions`."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from scripts.archive import mar_file
from scripts.nginx.split import SplitFront
from scripts.rollout import deployment_records, drain, unload
from scripts.rollout.settings import Deployment
from scripts.server.client import Loaded
from scripts.server.http_client import NotNow, get_json


def status_of(plan: Deployment) -> dict[str, Any]:
    """
    Return the state of a deployment.

    Returns:
        alias, alias_version (None: it names nothing, or MLflow is away), served_version, ready
        (what the supervisor's GET /ready/NAME says; None: no supervisor is known), why_not (its
        reason, where it is not ready), workers (that can answer), queue (requests that wait),
        previous_version (where a rollback leads), hold, quarantine, draining, retired (versions
        that serve no more and are still loaded: in how many seconds each may be unloaded),
        is_tidying (whether a process waits to unload them), trial (a version that has a share of
        the requests or sees copies: kind, version, share, step, steps, since_s; is_on: false where
        its tool is gone), fleet (None: it is alone; else replica, its own name, members, {name:
        served version; None: away}, refused, see `rolling_order.Refusal`), last_error.
    """
    record = plan.records.read()
    last_error = record.last_error
    served: Loaded | None = None
    remaining_s: dict[str, float] = {}
    try:
        served = plan.server.default()
        remaining_s = unload.remaining_s(plan)
    except NotNow as error:
        last_error = str(error)
    alias_version, registry_error = _alias_version(plan)
    server = plan.state.server()
    is_draining = drain.is_draining(plan.state, server.started_at_s if server else None)
    previous = record.before(served.version if served else None)
    is_ready, why_not = _readiness(plan)
    return {
        "alias": plan.alias,
        "alias_version": alias_version,
        "served_version": served.version if served else None,
        "ready": is_ready,
        "why_not": why_not,
        "workers": served.ready if served else 0,
        "queue": served.queue if served else 0,
        "previous_version": previous.version if previous else None,
        "hold": record.hold.reason if record.hold else None,
        "quarantine": record.quarantine.version if record.quarantine else None,
        "draining": is_draining,
        "retired": {version: round(left_s, 1) for version, left_s in remaining_s.items()},
        "is_tidying": plan.records.is_tidying(),
        "trial": _trial_of(plan, record),
        "fleet": _fleet_of(plan),
        "last_error": last_error or registry_error,
    }


def sentence(status: dict[str, Any]) -> str:
    """Return the state for a person."""
    served = status["served_version"]
    names = status["alias_version"] or "no known version"
    lines = [
        f"serving version {served}, {status['workers']} workers ready, {status['queue']} requests "
        "waiting" if served else "serving nothing",
        f"{status['alias']} names {names}" + (", as served" if names == served else ""),
    ]  # fmt: skip
    if status["ready"] is None:
        lines.append("ready or not is unknown; name the supervisor: --health-url")
    elif not status["ready"]:
        lines.append(f"not ready: {status['why_not']}")
    if status["trial"]:
        lines.append(_trial(status["trial"]))
    if status["previous_version"]:
        lines.append(f"a rollback leads to version {status['previous_version']}")
    if status["fleet"]:
        lines += _fleet(status["fleet"])
    if status["hold"]:
        lines.append(f"held: {status['hold']}")
    if status["quarantine"]:
        lines.append(f"version {status['quarantine']} is in quarantine")
    for version, left_s in status["retired"].items():
        by_whom = "" if status["is_tidying"] else " by the next sync"
        when = f"in about {left_s:.0f} s" if left_s >= 1 else "once it is idle"
        lines.append(f"version {version} is draining, unloaded{by_whom} {when}")
    if status["draining"]:
        lines.append("draining; end it: python -m scripts.deploy drain --end")
    if status["last_error"]:
        lines.append(f"last error: {status['last_error']}")
    return "\n".join(lines)


def _fleet_of(plan: Deployment) -> dict[str, Any] | None:
    if plan.fleet is None:
        return None
    refusal = plan.fleet.refusal()
    return {
        "replica": plan.fleet.replica,
        "members": {member.replica: member.served for member in plan.fleet.members()},
        "refused": dataclasses.asdict(refusal) if refusal else None,
    }


def _fleet(fleet: dict[str, Any]) -> list[str]:
    members = ", ".join(
        f"{name} serves version {served}" if served else f"{name} is away"
        for name, served in fleet["members"].items()
    )
    lines = [f"fleet: {members or 'no side-car is there'}"]
    refused = fleet["refused"]
    if refused:
        lines.append(
            f"fleet: version {refused['version']} is held back, {refused['replica']} refused it: "
            f"{refused['reason']}"
        )
    return lines


def _trial_of(plan: Deployment, record: deployment_records.Record) -> dict[str, Any] | None:
    if record.trial is None:
        return None
    return {**dataclasses.asdict(record.trial), "is_on": SplitFront(plan.state.front).gives()}


def _trial(trial: dict[str, Any]) -> str:
    if not trial["is_on"]:
        return (
            f"{trial['kind']}: version {trial['version']} gets nothing: it is about to begin or "
            "end, or its tool is gone, and the next sync goes on"
        )
    gets = "gets copies of" if trial["kind"] == "shadow" else "answers"
    since_s = time.time() - trial["since_s"]
    return (
        f"{trial['kind']}: version {trial['version']} {gets} {trial['share']:g} % of the requests, "
        f"step {trial['step']} of {trial['steps']}, for {since_s:.0f} s"
    )


def table(plan: Deployment) -> list[str]:
    """Return one line for each version that is loaded, on record, or named by the alias."""
    record = plan.records.read()
    loaded = plan.server.loaded()
    default = plan.server.default()
    served = default.version if default else None
    alias_version, _ = _alias_version(plan)
    previous = record.before(served)
    draining = unload.retired(plan)
    numbers = {*loaded, *(good.version for good in record.good)}
    numbers |= {number for number in (alias_version,) if number}
    numbers |= {record.quarantine.version} if record.quarantine else set()
    lines = [f"{'version':<8} {'workers':>7} {'queue':>5}  {'archive':<8} state"]
    for number in sorted(numbers, key=int):
        found = loaded.get(number)
        states = [
            ("served", number == served),
            (plan.alias, number == alias_version),
            ("where a rollback leads", previous is not None and number == previous.version),
            ("held", record.hold is not None and number == record.hold.version),
            (record.trial.kind if record.trial else "", _is_on_trial(record, number)),
            (_refusal(record), bool(record.quarantine and number == record.quarantine.version)),
            ("draining", number in draining),
            ("was good", number != served and record.find(number) is not None),
        ]
        is_there = mar_file.mar_path(plan.store, plan.model_name, number).exists()
        lines.append(
            f"{number:<8} {found.ready if found else '-':>7} {found.queue if found else '-':>5}  "
            f"{'yes' if is_there else 'no':<8} {', '.join(word for word, on in states if on)}"
        )
    return lines


def is_good(status: dict[str, Any]) -> bool:
    """Tell whether a version serves and, where that is known, is ready."""
    return status["workers"] > 0 and status["ready"] is not False


def _readiness(plan: Deployment) -> tuple[bool | None, str | None]:
    if plan.health_url is None:
        return None, None
    try:
        told = get_json(f"{plan.health_url}/ready/{plan.model_name}")
    except NotNow as error:
        return False, str(error)
    is_ready = bool(told.get("ready"))
    return is_ready, None if is_ready else str(told.get("reason"))


def _is_on_trial(record: deployment_records.Record, number: str) -> bool:
    return record.trial is not None and record.trial.version == number


def _refusal(record: deployment_records.Record) -> str:
    if record.quarantine is None:
        return ""
    minutes = (time.time() - record.quarantine.since_s) / 60
    return f"in quarantine for {minutes:.0f} min: {record.quarantine.reason}"


def _alias_version(plan: Deployment) -> tuple[str | None, str | None]:
    """Ask MLflow what the alias names; (version, None) or (None, what is wrong)."""
    from training.registry import model_versions  # seconds
    from training.registry.availability import RegistryUnavailable

    try:
        holder = model_versions.holder_of(plan.model_name, plan.alias)
    except RegistryUnavailable as error:
        return None, str(error)
    if holder is None:
        return None, f"alias '{plan.alias}' of model '{plan.model_name}': it names no version."
    return str(holder.version), None
