"""The plots, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

from benchmarks.aggregates import Figures
from benchmarks.contenders import CONTENDERS
from benchmarks.measured_steps import LIMIT, OURS, RIVALS
from benchmarks.resources import ROLES

CLIENTS: Final = (1, 2, 8, 16, 64)
QUANTILES: Final = (("p50_ms", ":"), ("p95_ms", "--"), ("p99_ms", "-"))


def plot_throughput(figures: Figures, path: Path) -> None:
    """Draw throughput against clients, and the limit as a line."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for name in figures.measured():
        rates = {n: figures.closed_rate_per_s(name, n) for n in CLIENTS}
        known = {n: rate for n, rate in rates.items() if rate is not None}
        if known and CONTENDERS[name].is_scored:
            width = 2.5 if name == OURS else 1.2
            axes.plot(
                list(known), list(known.values()), "o-", linewidth=width, markersize=3,
                label=CONTENDERS[name].title,
            )  # fmt: skip
    limit_per_s = figures.rate_per_s(LIMIT)
    if limit_per_s is not None:
        axes.axhline(limit_per_s, color="black", linestyle="--", linewidth=1)
        axes.annotate(CONTENDERS[LIMIT].title, (1, limit_per_s), va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_xticks(CLIENTS, [str(n) for n in CLIENTS])
    axes.set(xlabel="clients", ylabel="scores per second", ylim=(0, None))
    axes.set_title("Throughput, closed loop, 512 x 384 JPEG")
    axes.grid(alpha=0.3)
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=3, fontsize=7)  # it would hide points
    save(figure, path)


def plot_latency(figures: Figures, path: Path) -> None:
    """Draw latency percentiles against the offered rate."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate((OURS, *RIVALS)):
        loads = [record["load"] for record in figures.records(f"open/{name}/")]
        loads = sorted(
            (one for one in loads if one["latency"]["n"]), key=lambda one: one["offered_per_s"]
        )
        for quantile, style in QUANTILES if loads else ():
            axes.plot(
                [load["offered_per_s"] for load in loads],
                [load["latency"][quantile] for load in loads],
                style, color=f"C{i}", marker="o", markersize=3,
                label=f"{CONTENDERS[name].title}, {quantile.removesuffix('_ms')}",
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlabel="offered, requests per second", ylabel="latency of what was scored, ms")
    axes.set_title("Latency, open loop, from when a request was due")
    axes.grid(alpha=0.3, which="both")
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=3, fontsize=7)  # it would hide points
    save(figure, path)


def plot_soak(document: dict[str, Any], path: Path) -> None:
    """Draw memory and descriptors, and latency by minute, of `benchmarks.soak`'s document."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    memory, latency = figure.subplots(2, sharex=True)
    minutes = [sample["at_s"] / 60 for sample in document["samples"]]
    for role in ROLES:
        megabytes = [sample["pss_bytes"].get(role, 0) / 1e6 for sample in document["samples"]]
        if any(megabytes):
            memory.plot(minutes, megabytes, label=role)
    total = [sample["total_pss_bytes"] / 1e6 for sample in document["samples"]]
    memory.plot(minutes, total, color="black", label="all")
    descriptors = memory.twinx()
    descriptors.plot(
        minutes, [sample["descriptors"] for sample in document["samples"]], "--", color="0.6",
        label="descriptors (right)",
    )  # fmt: skip
    descriptors.set(ylabel="descriptors of all", ylim=(0, None))
    memory.plot([], [], "--", color="0.6", label="descriptors (right)")  # for the legend
    memory.set(ylabel="PSS, MB", ylim=(0, None), title="Memory and latency under constant load")
    for quantile, style in QUANTILES:
        values = [minute["latency"][quantile] for minute in document["minutes"]]
        ends = range(1, len(values) + 1)
        latency.plot(list(ends), values, style, marker=".", label=quantile.removesuffix("_ms"))
    latency.set(xlabel="minutes", ylabel="latency, ms", ylim=(0, None))
    for axes in (memory, latency):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same figure gives the same file."""
    with matplotlib.rc_context({"svg.hashsalt": "iqa"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
