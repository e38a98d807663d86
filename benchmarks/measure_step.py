"""How each kind of step is measured: step + awake server -> a record for the results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Running
from benchmarks.load import ClosedLoad, closed_loop
from benchmarks.measured_steps import Step
from benchmarks.open_loop import Phase, open_loop, summarise
from benchmarks.overload import overload
from benchmarks.resources import CpuMeter
from benchmarks.run_context import Context, Record, limit_per_s, settle
from benchmarks.sent_pictures import SMALL

MEMORY_CHUNK_S: Final = 10
WARM_UP_CLIENTS: Final = 8
WARM_UP_CHUNK_S: Final = 4
MAX_WARM_UP_S: Final = 240.0


def closed(step: Step, server: Running, context: Context) -> Record:
    """Measure throughput, latency, and CPU by role with clients that wait."""
    request = context.request(server, step.picture)
    settled = settle(request)
    meter = CpuMeter(server.processes)
    load = closed_loop(request, step.clients, step.run_s)
    cpu = meter.stop(load.client_cpu_s)
    return {
        "load": dataclasses.asdict(load),
        "cpu": dataclasses.asdict(cpu),
        "request_bytes": len(request.body),
        "is_settled": settled,
        "footprint": context.remember(step.contender, server, load.scored),
    }


def open_rate(step: Step, server: Running, context: Context) -> Record:
    """Measure latency, errors and CPU at a constant rate."""
    rate_per_s = step.rate_per_s or limit_per_s(context.records) * step.percent_of_limit / 100
    request = context.request(server, step.picture)
    settled = settle(request)
    phase = Phase(rate_per_s=rate_per_s, seconds=step.run_s)
    meter = CpuMeter(server.processes)
    sendings, client_cpu_s = open_loop(request, [phase])
    cpu = meter.stop(client_cpu_s)
    load = summarise(sendings, phase, client_cpu_s=client_cpu_s)
    return {
        "load": dataclasses.asdict(load),
        "cpu": dataclasses.asdict(cpu),
        "is_settled": settled,
        "footprint": context.remember(step.contender, server, load.latency.n),
    }


def limit(step: Step, context: Context) -> Record:
    """Measure the same decode and graph without a server."""
    site = context.site(step.contender)
    return dataclasses.asdict(
        contenders.limit_rate(site, context.picture(step.picture), step.run_s)
    )


def cold_start(step: Step, context: Context) -> Record:
    """Start another one, from nothing to the first score, and end it."""
    with contenders.running(step.contender, context.site("cold_start")) as server:
        return {"startup_s": server.startup_s}


def memory(step: Step, server: Running, context: Context) -> Record:
    """
    Go on until the server has answered so many requests; say what it holds and how that grew.

    Growth is from the first reading after half of the requests to the last one.
    """
    request = context.request(server, step.picture)
    chunk_rates_per_s: list[float] = []
    while context.served < step.requests or not chunk_rates_per_s:
        load = closed_loop(request, step.clients, MEMORY_CHUNK_S)
        if not load.scored:
            raise RuntimeError(f"memory: expected scores, got {load}.")
        context.remember(step.contender, server, load.scored)
        chunk_rates_per_s.append(load.rate_per_s)
    readings = context.memory
    half = next(one for one in readings if one["served"] >= context.served / 2)
    return {
        "served": context.served,
        "pss_bytes": readings[-1]["pss_bytes"],
        "total_pss_bytes": readings[-1]["total_pss_bytes"],
        "half_served": half["served"],
        "half_total_pss_bytes": half["total_pss_bytes"],
        "growth": readings[-1]["total_pss_bytes"] / half["total_pss_bytes"] - 1,
        "readings": list(readings),
        "rates_per_s": chunk_rates_per_s,
    }


def warm_up(
    server: Running, context: Context, contender: str, requests: int, seconds: int
) -> Record:
    """
    Put load on: Java compiles what runs often, and its first 20,000 requests are slower.

    Args:
        server: Awake.
        context: Takes what was served.
        contender: Its name.
        requests: At least so many, unless that takes `MAX_WARM_UP_S`.
        seconds: At least so long.
    """
    request = context.request(server, SMALL)
    loads: list[ClosedLoad] = []
    scored, waited_s = 0, 0.0
    while not loads or ((scored < requests or waited_s < seconds) and waited_s < MAX_WARM_UP_S):
        loads.append(closed_loop(request, WARM_UP_CLIENTS, WARM_UP_CHUNK_S))
        scored, waited_s = scored + loads[-1].scored, waited_s + loads[-1].elapsed_s
        context.remember(contender, server, loads[-1].scored)
    return {
        "scored": scored,
        "waited_s": waited_s,
        "rates_per_s": [load.rate_per_s for load in loads],
    }


def short(record: Record) -> str:
    """Say a record's main figures in a few words."""
    if "startup_s" in record:
        return f"{record['startup_s']:.2f} s"
    if "pictures_per_s" in record:
        return f"{record['pictures_per_s']:.1f}/s"
    if "growth" in record:
        return f"{record['total_pss_bytes'] / 1e6:.0f} MB, growth {record['growth']:+.2%}"
    if "storm" in record:
        recovery = record["recovery_s"] if record["recovery_s"] is not None else math.nan
        return f"{record['storm']['statuses']}, recovery {recovery:.1f} s"
    load = record["load"]
    latency = load["latency"]
    rate_per_s = load.get("rate_per_s", load.get("offered_per_s"))
    return f"{rate_per_s:.1f}/s, p50 {latency['p50_ms']:.1f} ms, p99 {latency['p99_ms']:.1f} ms"


MEASURES: Final[dict[str, Callable[[Step, Running, Context], Record]]] = {
    "closed": closed,
    "open": open_rate,
    "overload": overload,
    "memory": memory,
}
"""Measurements of a contender that runs, by the step's kind."""

ALONE: Final[dict[str, Callable[[Step, Context], Record]]] = {
    "limit": limit,
    "cold_start": cold_start,
}
"""Measurements that start what they measure; all else is paused meanwhile."""
