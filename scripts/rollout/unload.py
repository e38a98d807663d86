"""
Versions that serve no more: which of the loaded ones they are, and how they are unloaded.

A retired version stays loaded until the longest request that it may have in hand must have ended.
The record says since when that time runs, so no process has to wait: the next one that looks
continues from there.
"""

from __future__ import annotations

import contextlib
import threading

from scripts.rollout import deployment_records, drain
from scripts.rollout.deployment_records import Record
from scripts.rollout.settings import Deployment


def mark(plan: Deployment) -> None:
    """
    Put on record which versions are retired: all but the served one and those to go back to.

    A sync does so at its end. What it finds may be what a sync that was killed left, or was loaded
    by hand. Versions that are kept, or were taken by a restart of the server, are so no more.
    """
    default = plan.server.default()
    loaded = plan.server.loaded().keys()
    with plan.records.changing() as record:
        serving = set() if default is None else {default.version}
        surplus = loaded - serving - _kept(plan, record)
        for version in record.retired_at_s.keys() - surplus:
            del record.retired_at_s[version]
        for version in surplus:
            record.retired_at_s.setdefault(version, deployment_records.now_s())


def _kept(plan: Deployment, record: Record) -> set[str]:
    """Return the versions that stay loaded whether they serve or not."""
    previous = record.previous() if plan.keeps_previous else None
    numbers = {good.version for good in (record.current(), previous) if good is not None}
    return numbers | ({record.hold.version} if record.hold else set())


def retired(plan: Deployment) -> list[str]:
    """Return the retired versions that are loaded, the first to go at the front."""
    since_s = plan.records.read().retired_at_s
    if not since_s:
        return []
    default = plan.server.default()
    loaded = plan.server.loaded().keys() - ({default.version} if default else set())
    return sorted(loaded & since_s.keys(), key=lambda version: since_s[version])


def remaining_s(plan: Deployment) -> dict[str, float]:
    """Return in how many seconds each retired version may be unloaded; 0 where it is due."""
    record = plan.records.read()
    now_s = deployment_records.now_s()
    left_s = {}
    for version in retired(plan):
        since_s = min(record.retired_at_s.get(version, now_s), now_s)  # it may be another boot's
        left_s[version] = max(0.0, since_s + plan.longest_request_s - now_s)
    return left_s


def unload_all(
    plan: Deployment, stop: threading.Event | None = None, *, is_sync: bool = False
) -> None:
    """
    Drain and unload all retired versions, each once.

    Args:
        plan: See `Deployment`.
        stop: Set where waiting is to end; what is left is left to whoever comes next.
        is_sync: This process holds the lock of syncs, or must not wait for it. Others take it for
            the unloading alone: a sync may be about to let such a version serve again.
    """
    tried: set[str] = set()
    while left := [version for version in retired(plan) if version not in tried]:
        if stop is not None and stop.is_set():
            return
        tried.add(left[0])
        drain.unload_idle(
            plan,
            left[0],
            plan.longest_request_s,
            exclusive=(contextlib.nullcontext if is_sync else plan.records.one_sync_at_a_time),
            stop=stop,
        )
