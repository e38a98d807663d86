"""More than a server can do: how it refuses, and how soon it is itself again."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.contenders import Running
from benchmarks.load import latency_of
from benchmarks.measured_steps import AFTER_S, CALM_S, Step
from benchmarks.open_loop import OK, Phase, Sending, open_loop, summarise
from benchmarks.resources import CpuMeter
from benchmarks.run_context import Context, Record, rates_per_s, settle

CALM_RATE_PER_S: Final = 100.0
WINDOW_S: Final = 0.2


def overload(step: Step, server: Running, context: Context) -> Record:
    """Offer twice what the server can do, between two calm stretches."""
    capacity_per_s = statistics.median(rates_per_s(context.records, step.contender))
    request = context.request(server, step.picture)
    settle(request)
    calm_rate_per_s = min(CALM_RATE_PER_S, capacity_per_s / 2)  # calm on a slow machine too
    calm = Phase(rate_per_s=calm_rate_per_s, seconds=CALM_S)
    storm = Phase(rate_per_s=2 * capacity_per_s, seconds=step.run_s)
    after = Phase(rate_per_s=calm_rate_per_s, seconds=AFTER_S)
    meter = CpuMeter(server.processes)
    sendings, client_cpu_s = open_loop(request, [calm, storm, after])
    cpu = meter.stop(client_cpu_s)
    storm_ended_s = CALM_S + storm.seconds
    loads = {
        "calm": summarise(sendings, calm),
        "storm": summarise(sendings, storm, began_s=CALM_S, client_cpu_s=client_cpu_s),
        "after": summarise(sendings, after, began_s=storm_ended_s),
    }
    windows = windows_of(sendings, storm_ended_s, AFTER_S)
    return {
        "capacity_per_s": capacity_per_s,
        **{name: dataclasses.asdict(load) for name, load in loads.items()},
        "recovery_s": recovery_s(windows, 2 * loads["calm"].latency.p50_ms),
        "windows": windows,
        "cpu": dataclasses.asdict(cpu),
        "footprint": context.remember(
            step.contender, server, sum(load.latency.n for load in loads.values())
        ),
    }


def windows_of(sendings: Sequence[Sending], began_s: float, seconds: float) -> list[Record]:
    """Return refusals and median latency of each `WINDOW_S` of due times from a moment on."""
    windows = []
    for i in range(round(seconds / WINDOW_S)):
        starts_s, ends_s = began_s + i * WINDOW_S, began_s + (i + 1) * WINDOW_S
        own = [one for one in sendings if starts_s <= one.due_s < ends_s]
        windows.append(
            {
                "ends_s": (i + 1) * WINDOW_S,
                "failed": sum(one.status != OK for one in own),
                "p50_ms": latency_of([one.done_s - one.due_s for one in own]).p50_ms,
            }
        )
    return windows


def recovery_s(windows: Sequence[Record], normal_ms: float) -> float | None:
    """
    Return how long after an overload requests are served as before it.

    Args:
        windows: As of `windows_of`.
        normal_ms: A median latency that counts as normal; twice the one before the overload.

    Returns:
        The end of the first window without a refusal and with normal latency; None if there is
        none.
    """
    for window in windows:
        if not window["failed"] and window["p50_ms"] <= normal_ms:
            return float(window["ends_s"])
    return None
