"""
Make tables and plots of a run's results.

    python -m benchmarks.report [--results FILE] [--soak FILE] [--out DIR]

Everything in the written page is computed, where a peer wins and what was missed included; what it
means is written by hand around it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import plots, report_tables, targets
from benchmarks.aggregates import Figures
from benchmarks.measured_steps import OURS
from benchmarks.peer_comparison import opening_table, peer_wins
from benchmarks.peers.launches import ROOT
from benchmarks.report_tables import table
from benchmarks.results import Results
from benchmarks.soak import growth
from console import command_line

MEMORY: Final = f"memory/{OURS}"
SERVED: Final = 100_000
QUIET_SHARE = 0.05  # of all cores; more spoils a figure


def main(argv: list[str] | None = None) -> int:
    """Write the page and its plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--results", type=Path, default=ROOT / "build" / "bench" / "results.json",
        help="of benchmarks.bench (default: build/bench/results.json)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "performance",
        help="folder of results.md and the plots (default: docs/performance)",
    )  # fmt: skip
    parser.add_argument(
        "--soak", type=Path,
        help="of benchmarks.soak: memory from there where the run itself has not measured it",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: write(arguments.results, arguments.out, arguments.soak), arguments.debug
    )


def write(results: Path, out: Path, soak: Path | None = None) -> int:
    """Write `results.md`, `throughput.svg` and `latency.svg`; 0."""
    measured = Results.read(results)
    if soak is not None and "error" in measured.steps.get(MEMORY, {"error": "not measured"}):
        measured.steps[MEMORY] = memory_of_soak(json.loads(soak.read_text()))
    figures = Figures(results=measured)
    out.mkdir(parents=True, exist_ok=True)
    plots.plot_throughput(figures, out / "throughput.svg")
    plots.plot_latency(figures, out / "latency.svg")
    (out / "results.md").write_text(page(figures))
    print(f"written: {out}/results.md, throughput.svg, latency.svg")
    return 0


def memory_of_soak(document: dict[str, Any]) -> dict[str, Any]:
    """
    Return the record of a memory step from an hour of load instead.

    What it holds at the first reading after `SERVED` requests, and the growth over the last half
    of the hour; all processes but the side-car, which serves nothing.

    Args:
        document: `benchmarks.soak`'s.

    Raises:
        ValueError: It was too short.
    """
    readings = []
    for sample in document["samples"]:
        held = {role: n for role, n in sample["pss_bytes"].items() if role != "side-car"}
        readings.append(
            {
                "served": round(sample["at_s"] * document["rate_per_s"]),
                "pss_bytes": held,
                "total_pss_bytes": sum(held.values()),
            }
        )
    late = [one for one in readings if one["served"] >= SERVED]
    if not late:
        raise ValueError(f"soak: expected {SERVED:,} requests, got fewer. Run: make soak")
    half = next(one for one in readings if one["served"] >= readings[-1]["served"] / 2)
    return {
        **late[0],
        "half_served": half["served"],
        "half_total_pss_bytes": half["total_pss_bytes"],
        "growth": growth([one["total_pss_bytes"] for one in readings]),
        "minutes": len(document["minutes"]),
        "step": {"contender": OURS, "kind": "memory"},
    }


def page(figures: Figures) -> str:
    """Return the page in Markdown."""
    parts = [
        "# Results of one benchmark run\n",
        "Written by `python -m benchmarks.report`; do not edit.\n",
        _conditions(figures),
        "## Targets\n",
        _targets_table(targets.targets(figures)),
        "## The project's own bar\n",
        _targets_table(targets.promises(figures)),
        "## Throughput\n",
        "![throughput against clients](throughput.svg)\n",
        "Scores/s of the 512 x 384 JPEG, closed loop, one run each:\n",
        report_tables.clients(figures),
        "Interleaved rounds at 16 clients, medians; CPU ms of one core a request:\n",
        report_tables.rounds(figures),
        "Peers' shares of the limit, before the project began and now:\n",
        table(["contender", "then", "now", "now / then", "within 10 %"], opening_table(figures)),
        "## Where the CPU time of one request goes\n",
        report_tables.budget(figures),
        "## Latency at a constant rate\n",
        "![latency against offered rate](latency.svg)\n",
        "Open loop: latency counts from when a request was due. In brackets: share of the limit; "
        "CPU: the server's share of all cores; lag: p99, ms.\n",
        report_tables.constant_rates(figures),
        "## Overload and recovery\n",
        report_tables.overload(figures),
        "## Large pictures\n",
        report_tables.pictures(figures),
        "## Start and memory\n",
        report_tables.footprint(figures),
        "## Where a peer wins\n",
        "By how much, in brackets; `PICTURE x N`: closed loop, N clients.\n",
        peer_wins(figures),
        "What each contender is: [benchmarks](../../benchmarks/README.md).\n",
    ]
    return "\n".join(parts)


def _conditions(figures: Figures) -> str:
    results, facts = figures.results, figures.results.facts
    machine, versions, archive = facts["machine"], facts["versions"], facts["archive"]
    ours = ", ".join(f"{name} {version}" for name, version in versions["ours"].items())
    peers = ", ".join(f"{name} {version}" for name, version in versions["peers"].items())
    lines = [
        f"{results.started_at} to {results.finished_at or 'unfinished'}, plan `{facts['plan']}`, "
        f"commit {versions['commit']}.",
        f"{machine['processor']} ({', '.join(machine['flags'])}), {machine['usable_cores']} usable "
        f"cores, {machine['memory_bytes'] / 1e9:.0f} GB, {machine['system']}.",
        f"Python {versions['python']}, {versions['java']}, {ours}; load by {versions['wrk']}.",
        f"Peers: {peers}." if peers else "No peers.",
        f"Archive {archive['name']}, {archive['precision']}, {archive['bytes'] / 1e6:.1f} MB, "
        f"sha256 {archive['sha256'][:12]}.",
    ]
    cores = machine["usable_cores"]
    noisy = {
        key: one["cpu"]["strangers_s"] / one["cpu"]["elapsed_s"] / cores
        for key, one in results.steps.items()
        if "cpu" in one
    }
    loud = {key: share for key, share in noisy.items() if share > QUIET_SHARE}
    lines.append(
        f"Others than server and client took more than {QUIET_SHARE:.0%} of the machine in "
        f"{len(loud)} of {len(noisy)} steps"
        + (
            f": {', '.join(f'`{key}` {share:.0%}' for key, share in loud.items())}."
            if loud
            else "."
        )
    )
    slow = [k for k, one in results.steps.items() if one.get("load", {}).get("is_client_slow")]
    if slow:
        lines.append(f"The load generator itself was late in: {', '.join(slow)}.")
    for name, why in results.not_started.items():
        lines.append(f"`{name}` did not start: {why.splitlines()[0]}")
    for key, why in results.failed().items():
        lines.append(f"`{key}` failed: {why.splitlines()[0]}")
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _targets_table(rows: Sequence[targets.Target]) -> str:
    has_aim = any(row.aim is not None for row in rows)
    aim_head = ["aim"] if has_aim else []
    return table(
        ["figure", "must", *aim_head, "measured", "verdict"],
        [
            [
                row.figure,
                f"{'>=' if row.is_floor else '<='} {row.says(row.must)}",
                *([row.says(row.aim)] if has_aim else []),
                row.says(row.measured),
                row.verdict(),
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
