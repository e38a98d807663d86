"""
A sync and a rollback while more is asked than the server can do: when an operator needs them most.

The sync is of a version that is not loaded, by the command that a person types, so its two workers
start on cores that are more than busy; the rollback leads back at once.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any, Final

from benchmarks.reliability import outcomes
from benchmarks.reliability.steady_load import SteadyLoad
from benchmarks.reliability.system import FIRST, System

Record = dict[str, Any]

FIRST_RATE_PER_S: Final = 100.0
PROBE_S: Final = 5.0
STIR_S: Final = 3.0
"""From the first request until the command, and after its end."""


def capacity_per_s(system: System, rate_per_s: float = FIRST_RATE_PER_S) -> float:
    """Return how many requests a second are scored where more are offered than can be."""
    while True:
        with SteadyLoad(system.request(), rate_per_s) as load:
            time.sleep(PROBE_S)
            sent_for_s = load.now_s()
            sendings = load.end()
        counts = outcomes.tally(sendings)
        if counts.refused:
            # What waits at the end is scored after it.
            return (
                sum(
                    one.done_s <= sent_for_s and outcomes.outcome_of(one) == "scored"
                    for one in sendings
                )
                / sent_for_s
            )
        rate_per_s *= 2


def overload(system: System, factor: float, capacity: float, version: str) -> Record:
    """
    Sync to a version and roll back from it, under so many times what the server can do.

    Args:
        system: Running, with version 1 served and no side-car.
        factor: Offered load by capacity.
        capacity: Requests a second.
        version: One that is registered and not loaded.
    """
    steps: dict[str, Record] = {}
    with SteadyLoad(system.request(), factor * capacity) as load:
        time.sleep(STIR_S)
        system.move_alias(version)
        for name, wanted in (("sync", version), ("rollback", FIRST)):
            began_s = load.now_s()
            done = system.deploy(name)
            steps[name] = {
                "version": wanted,
                "began_s": began_s,
                "command_s": load.now_s() - began_s,
                "status": done.returncode,
                "said": (done.stdout + done.stderr).strip().splitlines()[-1:],
                "is_right": system.served() == wanted,
            }
            time.sleep(STIR_S)
        sendings = load.end()
    for step in steps.values():
        first_s = outcomes.first_scored_s(sendings, step["version"], step["began_s"])
        step["first_score_s"] = None if first_s is None else first_s - step["began_s"]
    return {
        "factor": factor,
        "capacity_per_s": capacity,
        "offered_per_s": factor * capacity,
        **steps,
        "tally": asdict(outcomes.tally(sendings)),
        "reasons": outcomes.reasons(sendings),
        "latency": asdict(outcomes.latency(sendings)),
    }


def is_good(record: Record) -> bool:
    """Tell whether both commands did what they must and no accepted request was lost."""
    steps = (record["sync"], record["rollback"])
    counts = record["tally"]
    return all(step["status"] == 0 and step["is_right"] for step in steps) and not (
        counts["lost"] or counts["failed"] or counts["unaccepted"]
    )


def say(record: Record) -> None:
    """Print one line on a run."""
    counts, sync, rollback = record["tally"], record["sync"], record["rollback"]
    first = rollback["first_score_s"]
    print(
        f"{record['factor']:g} x {record['capacity_per_s']:.0f}/s: sync {sync['command_s']:.1f} s "
        f"(status {sync['status']}), rollback {rollback['command_s']:.1f} s, first score "
        f"{'none' if first is None else f'{first:.1f} s'}; {counts['sent']} requests, "
        f"{counts['scored']} scored, {counts['refused']} refused, {counts['failed']} failed, "
        f"{counts['lost']} lost",
        file=sys.stderr,
    )
