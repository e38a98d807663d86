"""Where peers stand: against what was measured of them before, and where they beat us."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from benchmarks.aggregates import Figures, errors_of
from benchmarks.contenders import CONTENDERS
from benchmarks.measured_steps import LIMIT, OURS

OPENING_PER_S: Final = {
    "litserve": 190.0,
    "bentoml": 175.0,
    "fastapi_openvino": 117.0,
    "torchserve_eager": 24.0,
    "fastapi_eager": 22.0,
}
"""Scores per second before the project began, where the limit was `OPENING_LIMIT_PER_S`."""
OPENING_LIMIT_PER_S: Final = 240.0
SAME: Final = 0.10
NOISE: Final = 0.01  # a lead below that is none


def opening_table(figures: Figures) -> list[list[str]]:
    """Return each peer's share of the limit, then and now: a slow rival would flatter us."""
    rows = []
    for name, rate_per_s in OPENING_PER_S.items():
        then, now = rate_per_s / OPENING_LIMIT_PER_S, figures.ratio(name, LIMIT)
        if now is None:
            continue
        # A peer that has become faster flatters nobody.
        change = now / then
        verdict = "yes" if abs(change - 1) <= SAME else ("faster" if change > 1 else "no")
        rows.append([CONTENDERS[name].title, f"{then:.3f}", f"{now:.3f}", f"{change:.2f}", verdict])
    return rows


def peer_wins(figures: Figures) -> str:
    """Return a list of every comparison in which a peer was ahead of us by more than noise."""
    lines = []
    for what, ours, theirs, is_floor in _comparisons(figures):
        for name, value in theirs.items():
            lead = (value / ours if is_floor else ours / value) if ours and value else 0.0
            if lead > 1 + NOISE:
                title = CONTENDERS[name].title
                lines.append(f"- {what}: {title} {value:.4g}, ours {ours:.4g} ({lead - 1:.0%})\n")
    return "".join(lines) or "Nowhere in what was measured.\n"


def _comparisons(figures: Figures) -> Iterator[tuple[str, float, dict[str, float], bool]]:
    """Yield (what, our figure, the peers' figures, whether more is better)."""
    peers = [name for name in figures.measured() if name not in (OURS, LIMIT)]
    peers = [name for name in peers if CONTENDERS[name].is_scored]
    rate = figures.rate_per_s(OURS)
    if rate is not None:
        yield (
            "scores/s, rounds",
            rate,
            _known({name: figures.rate_per_s(name) for name in peers}),
            True,
        )
    for key, record in figures.results.steps.items():
        kind, contender, *rest = key.split("/")
        if contender != OURS or "error" in record or kind not in ("closed", "open"):
            continue
        same = {name: figures.record("/".join([kind, name, *rest])) for name in peers}
        others = {name: one for name, one in same.items() if one is not None}
        for what, ours, is_floor in _figures_of(kind, record):
            theirs = {
                name: value
                for name, one in others.items()
                for label, value, _ in _figures_of(kind, one)
                if label == what
            }
            yield f"{what}, {_said(kind, rest)}", ours, theirs, is_floor
    yield from _standing(figures, peers)


def _figures_of(kind: str, record: dict[str, Any]) -> Iterator[tuple[str, float, bool]]:
    load = record["load"]
    if kind == "closed":
        yield "scores/s", load["rate_per_s"], True
        if not load["refused"] + load["timeouts"] + load["socket_errors"]:
            yield "p99 ms", load["latency"]["p99_ms"], False
        return
    if load["latency"]["n"]:
        # A server that refuses most has short queues: percentiles compare where none is refused.
        if not errors_of(load):
            for quantile in ("p50_ms", "p95_ms", "p99_ms"):
                yield quantile.replace("_", " "), load["latency"][quantile], False
        yield "scored of all asked", load["latency"]["n"] / sum(load["statuses"].values()), True


def _standing(
    figures: Figures, peers: list[str]
) -> Iterator[tuple[str, float, dict[str, float], bool]]:
    servers = figures.results.servers
    ours_s = figures.cold_start_s() or servers.get(OURS, {}).get("startup_s")
    if ours_s:
        starts = {name: servers[name]["startup_s"] for name in peers if name in servers}
        yield "seconds to the first score", ours_s, starts, False
    memory = {}
    for name in (OURS, *peers):
        for record in figures.records(f"closed/{name}/"):
            if "footprint" in record:  # the last one
                memory[name] = record["footprint"]["total_pss_bytes"] / 1e6
    if OURS in memory:
        ours = memory.pop(OURS)
        yield "MB of memory (PSS) after the closed loop", ours, memory, False


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _said(kind: str, rest: list[str]) -> str:
    if kind == "closed":
        picture, clients = rest
        return f"{picture} x {clients}"
    return f"{rest[0]}% of the limit"
