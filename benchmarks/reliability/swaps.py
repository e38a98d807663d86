"""
Swaps back and forth and rollbacks under constant load.

Two series, for a swap costs differently where the version before is still loaded:

    standby  between two versions; the one before stays loaded, as a deployment leaves it
    loading  three versions in turn, so each swap loads one and unloads another
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from tqdm import tqdm

from benchmarks.load import latency_of
from benchmarks.open_loop import Sending
from benchmarks.reliability import outcomes
from benchmarks.reliability.steady_load import SteadyLoad
from benchmarks.reliability.system import FIRST, System
from benchmarks.reliability.versions import add_version

Record = dict[str, Any]

SERIES: Final = {"standby": 2, "loading": 3}
"""How many versions take turns in each."""
CALM_S: Final = 10.0
PAUSE_S: Final = 4.0
MARGIN_S: Final = 1.0
"""After a swap its queue may have to empty; requests due meanwhile are neither calm nor swap."""
SHOWN_S: Final = (-2.0, 12.0)
"""Around the moment the alias moved; what the plot shows."""
BIN_S: Final = 0.5


def swaps(system: System, rate_per_s: float, count: int, series: str, by: str) -> Record:
    """
    Swap so many times under load.

    Args:
        system: Running, with `versions.add_version`'s 2 and 3.
        rate_per_s: Rate of the load.
        count: Swaps.
        series: One of `SERIES`.
        by: Who swaps: "side-car" (`sync --watch`, woken by MLflow's webhook), or "command" (`sync`,
            started for each swap).
    """
    turns = [str(i + 1) for i in range(SERIES[series])]
    # So that all, or the next one only, are not loaded.
    for version in [*turns[1:], FIRST]:
        system.settle(version)
    if by == "command":
        system.stop_side_car()
    targets = itertools.islice(itertools.cycle([*turns[1:], FIRST]), count)
    marks: list[Record] = []
    with SteadyLoad(system.request(), rate_per_s) as load:
        time.sleep(CALM_S)
        for version in tqdm(targets, total=count, unit="swap", desc=f"{series}, by {by}"):
            mark: Record = {"version": version, "began_s": load.now_s()}
            _swap(system, version, by)
            mark["ended_s"] = load.now_s()
            marks.append(mark)
            time.sleep(PAUSE_S)
        sendings = load.end()
    served = system.served()
    if by == "command":
        system.start_side_car()
    return {"series": series, "by": by, **measured(sendings, marks), "is_right": _is(served, marks)}


def _swap(system: System, version: str, by: str) -> None:
    system.move_alias(version)
    if by == "command":
        done = system.deploy("sync", "--wait")
        if done.returncode != 0:
            raise RuntimeError(f"sync to version {version}: expected it done, got: {done.stderr}")
    else:
        system.wait_until(lambda: system.has_settled(version), f"version {version} served")


def _is(served: str | None, marks: Sequence[Record]) -> bool:
    return bool(marks) and served == marks[-1]["version"]


def measured(sendings: Sequence[Sending], marks: list[Record]) -> Record:
    """
    Return what a series came to.

    Args:
        sendings: All requests.
        marks: Version of each swap, and when it began and ended; completed in place by when
            the version's first answer came and the latency meanwhile.
    """
    spans = [(mark["began_s"], mark["ended_s"]) for mark in marks]
    for mark, span in zip(marks, spans, strict=True):
        mark["first_s"] = outcomes.first_scored_s(sendings, mark["version"], mark["began_s"])
        mark["latency"] = asdict(outcomes.latency(outcomes.due_in(sendings, [span])))
    swapping = outcomes.latency(outcomes.due_in(sendings, spans))
    calm = outcomes.latency(outcomes.due_outside(sendings, spans, MARGIN_S))
    lags = latency_of([one.handled_s - one.due_s for one in sendings])
    return {
        "tally": asdict(outcomes.tally(sendings)),
        "reasons": outcomes.reasons(sendings),
        "swapping": asdict(swapping),
        "calm": asdict(calm),
        "p99_ratio": ratio(swapping.p99_ms, calm.p99_ms),
        "p99_ratio_of_a_swap": statistics.median(
            ratio(mark["latency"]["p99_ms"], calm.p99_ms) for mark in marks
        ),
        "lag_p99_ms": lags.p99_ms,
        "marks": marks,
        "around": around(sendings, [mark["began_s"] for mark in marks]),
    }


def ratio(one: float, other: float) -> float:
    """Return one over the other; infinite over nothing."""
    return one / other if other else float("inf")


def around(sendings: Sequence[Sending], moments_s: Sequence[float]) -> list[Record]:
    """Return latency and outcomes of all requests by when they were due around some moments."""
    first_s, last_s = SHOWN_S
    bins: list[list[Sending]] = [[] for _ in range(round((last_s - first_s) / BIN_S))]
    for moment_s in moments_s:
        for one in outcomes.due_in(sendings, [(moment_s + first_s, moment_s + last_s)]):
            bins[int((one.due_s - moment_s - first_s) // BIN_S)].append(one)
    found = []
    for i, own in enumerate(bins):
        latency = outcomes.latency(own)
        found.append(
            {
                "at_s": first_s + (i + 0.5) * BIN_S,
                "n": len(own),
                "unscored": len(own) - latency.n,
                "p50_ms": latency.p50_ms,
                "p99_ms": latency.p99_ms,
            }
        )
    return found


def rollbacks(system: System, rate_per_s: float, count: int) -> Record:
    """
    Roll back so many times under load.

    Seconds are from the start of the command, as a person types it, to the first answer of the old
    version to the load.
    """
    runs: list[Record] = []
    for _ in tqdm(range(count), unit="rollback"):
        system.settle(FIRST)
        system.settle("2")
        with SteadyLoad(system.request(), rate_per_s) as load:
            time.sleep(PAUSE_S)
            began_s = load.now_s()
            done = system.deploy("rollback")
            ended_s = load.now_s()
            time.sleep(1.0)
            sendings = load.end()
        if done.returncode != 0:
            raise RuntimeError(f"rollback: expected it done, got: {done.stderr.strip()}")
        first_s = outcomes.first_scored_s(sendings, FIRST, began_s)
        runs.append(
            {
                "first_score_s": None if first_s is None else first_s - began_s,
                "command_s": ended_s - began_s,
                "tally": asdict(outcomes.tally(sendings)),
                "reasons": outcomes.reasons(sendings),
                "is_right": system.served() == FIRST,
            }
        )
    return {"runs": runs}


def add_versions(system: System) -> None:
    """Register versions 2 and 3, with archives."""
    for _ in range(2):
        add_version(system.store)


def say(record: Record) -> None:
    """Print one line on a series."""
    counts = record["tally"]
    print(
        f"{record['series']}, by {record['by']}: {len(record['marks'])} swaps, {counts['sent']} "
        f"requests, {counts['failed'] + counts['refused']} failed, {counts['lost']} lost; p99 "
        f"{record['swapping']['p99_ms']:.0f} ms in swaps, {record['calm']['p99_ms']:.0f} ms else, "
        f"ratio {record['p99_ratio']:.2f}",
        file=sys.stderr,
    )
