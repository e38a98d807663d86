"""Run faults under load, and say what they cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.open_loop import Sending
from benchmarks.reliability import outcomes
from benchmarks.reliability.faults import Fault, Scene
from benchmarks.reliability.steady_load import SteadyLoad
from benchmarks.reliability.system import FIRST

Record = dict[str, Any]

BEFORE_S: Final = 4.0
SETTLED_S: Final = 1.0
"""The first second of a load opens connections."""
SLOW_FACTOR: Final = 5.0
SLOW_MS: Final = 250.0
"""A median latency above this, and above the factor over the one before, is a disturbance."""


def run(scene: Scene, fault: Fault, rate_per_s: float) -> Record:
    """
    Do a fault once, under load.

    Args:
        scene: The system; it is brought to version 1 first.
        fault: Which.
        rate_per_s: Rate of the load.
    """
    system = scene.system
    scene.notes = {}
    system.settle(FIRST)
    fault.prepare(scene)
    with SteadyLoad(system.request(), rate_per_s) as load:
        time.sleep(BEFORE_S)
        injected_s = load.now_s()
        fault.inject(scene)
        inject_s = load.now_s() - injected_s
        time.sleep(max(0.0, fault.after_s - inject_s))
        ended_s = load.now_s()
        served = system.served()
        sendings = load.end()
    record = measured(sendings, injected_s, ended_s)
    if fault.back_within_s is None:
        record["back_s"] = None
    fault.heal(scene)
    scene.count += 1
    return {
        **record,
        "inject_s": inject_s,
        "served": served,
        "is_right": served == fault.expected,
        "notes": scene.notes,
    }


def measured(sendings: Sequence[Sending], injected_s: float, ended_s: float) -> Record:
    """
    Return what a fault cost.

    Args:
        sendings: All requests; those before the fault say what is normal.
        injected_s: When the fault began.
        ended_s: When the load ended.
    """
    before = outcomes.latency(outcomes.due_in(sendings, [(SETTLED_S, injected_s)]))
    after = outcomes.latency(outcomes.due_in(sendings, [(injected_s, ended_s)]))
    found = outcomes.windows(sendings, (injected_s, ended_s))
    slow_ms = max(SLOW_MS, SLOW_FACTOR * before.p50_ms)
    return {
        "tally": asdict(outcomes.tally(sendings)),
        "reasons": outcomes.reasons(sendings),
        "before": asdict(before),
        "after": asdict(after),
        "back_s": outcomes.back_s(found, slow_ms),
        "windows": outcomes.windows(sendings, (injected_s - BEFORE_S, ended_s)),
    }


def say(name: str, record: Record) -> None:
    """Print one line on a run."""
    counts = record["tally"]
    told = ", ".join(f"{counts[kind]} {kind}" for kind in outcomes.OUTCOMES if counts[kind])
    back = "" if record["back_s"] is None else f"; back after {record['back_s']:.2f} s"
    version = "right" if record["is_right"] else f"WRONG ({record['served']})"
    print(
        f"{name}: {counts['sent']} sent, {told}{back}; p99 {record['after']['p99_ms']:.0f} ms "
        f"({record['before']['p99_ms']:.0f} before); version {version}; {record['reasons'] or ''}"
        f" {record['notes'] or ''}",
        file=sys.stderr,
        flush=True,
    )
