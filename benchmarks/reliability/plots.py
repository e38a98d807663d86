"""The plots of the reliability page, as SVG."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.plots import save
from benchmarks.reliability.fault_runs import BEFORE_S
from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.outcomes import OUTCOMES, WINDOW_S

Record = dict[str, Any]

COLOURS: Final = {
    "scored": "C2", "refused": "C0", "failed": "C1", "lost": "C3", "unaccepted": "0.7",
}  # fmt: skip
COLUMNS: Final = 2
LEAST_MS: Final = 200.0
"""Of the latency's axis, so that calm looks calm."""


def plot_swaps(document: Record, path: Path) -> None:
    """Draw latency around the moment the alias moved, all swaps of a series together."""
    series = list(document["series"].values())
    figure = Figure(figsize=(8, 0.8 + 2.6 * len(series)), layout="constrained")
    panels = figure.subplots(len(series), sharex=True, squeeze=False)[:, 0]
    for axes, record in zip(panels, series, strict=True):
        shown = [one for one in record["around"] if one["n"]]
        at_s = [one["at_s"] for one in shown]
        axes.plot(at_s, [one["p50_ms"] for one in shown], ":", label="p50")
        axes.plot(at_s, [one["p99_ms"] for one in shown], "-", label="p99")
        axes.axhline(
            record["calm"]["p99_ms"], color="C1", linewidth=0.8, linestyle="--",
            label="p99 without a swap",
        )  # fmt: skip
        axes.axvline(0, color="black", linewidth=0.8)
        firsts = sorted(one["first_s"] - one["began_s"] for one in record["marks"])
        ends = sorted(one["ended_s"] - one["began_s"] for one in record["marks"])
        axes.axvspan(firsts[0], firsts[-1], color="C2", alpha=0.2, label="first score of the new")
        axes.axvline(ends[len(ends) // 2], color="0.5", linewidth=0.8, label="swap done (median)")
        axes.set(ylabel="latency, ms", ylim=(0, None))
        axes.set_title(
            f"{record['series']}, by {record['by']}: {len(record['marks'])} swaps", fontsize=9
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper right")
    panels[-1].set_xlabel("seconds since the alias moved")
    save(figure, path)


def plot_faults(document: Record, path: Path) -> None:
    """Draw what became of the requests over time, and latency; the runs of a fault averaged."""
    names = [
        name
        for name in FAULTS
        if any("windows" in one for one in document["faults"].get(name, {}).get("runs", []))
    ]
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(10, 0.6 + 1.9 * rows), layout="constrained")
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes, name in zip(panels, names, strict=False):
        _plot_fault(axes, name, document["faults"][name]["runs"])
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=6, loc="lower right")
    figure.supxlabel("seconds since the fault", fontsize=9)
    figure.supylabel("requests a second; line, right: median latency, ms", fontsize=9)
    save(figure, path)


def _plot_fault(axes: Axes, name: str, runs: list[Record]) -> None:
    measured = [one["windows"] for one in runs if "windows" in one]
    count = min(map(len, measured))
    at_s = [measured[0][i]["at_s"] - BEFORE_S for i in range(count)]
    layers = [
        [sum(run[i][kind] for run in measured) / len(measured) / WINDOW_S for i in range(count)]
        for kind in OUTCOMES
    ]
    axes.stackplot(
        at_s, *layers, labels=OUTCOMES, colors=[COLOURS[kind] for kind in OUTCOMES], step="post",
        alpha=0.5,
    )  # fmt: skip
    latency = axes.twinx()
    medians_ms = [statistics.median(run[i]["p50_ms"] for run in measured) for i in range(count)]
    latency.plot(  # none where nothing was scored
        at_s, [ms or float("nan") for ms in medians_ms], color="black", linewidth=0.8
    )
    latency.set_ylim(0, max(2 * max(medians_ms), LEAST_MS))
    latency.tick_params(labelsize=7)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title(f"{FAULTS[name].title} ({len(measured)} x)", fontsize=9)
    axes.set_xlim(at_s[0], at_s[-1])
    axes.tick_params(labelsize=7)
