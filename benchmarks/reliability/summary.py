"""What was wanted and what was measured, line by line."""

from __future__ import annotations

import statistics
from typing import Any, Final

from benchmarks.reliability import tables
from benchmarks.reliability.faults import FAULTS
from benchmarks.report_tables import table
from benchmarks.soak import ends

Record = dict[str, Any]
Row = list[object]

MAX_GROWTH: Final = 0.01
"""Of memory over the last half hour; what a collector leaves behind comes and goes."""


def table_of(swaps: Record, faults: Record, soak: Record) -> str:
    """Return the table; a line that was not measured is left out."""
    rows = [*_of_swaps(swaps), *_of_rollbacks(swaps), *_of_faults(faults), *_of_soak(soak)]
    return table(["", "wanted", "measured", "met"], rows)


def _of_swaps(document: Record) -> list[Row]:
    rows: list[Row] = []
    for record in document.get("series", {}).values():
        counts, title = record["tally"], f"swaps, {record['series']}, by {record['by']}"
        missed = counts["sent"] - counts["scored"]
        found = f"{missed} of {counts['sent']}, {len(record['marks'])} swaps"
        rows.append([f"{title}: requests not scored", 0, found, tables.met(missed == 0)])
        rows.append(
            [
                f"{title}: p99 in swaps over p99 without",
                f"at most {tables.MAX_P99_RATIO:g}",
                f"{record['p99_ratio']:.2f}",
                tables.met(record["p99_ratio"] <= tables.MAX_P99_RATIO),
            ]
        )
    return rows


def _of_rollbacks(document: Record) -> list[Row]:
    runs = document.get("rollbacks", {}).get("runs", [])
    if not runs:
        return []
    seconds = [one["first_score_s"] for one in runs if one["first_score_s"] is not None]
    is_met = len(seconds) == len(runs) and statistics.median(seconds) <= tables.MAX_ROLLBACK_S
    median = f"{statistics.median(seconds):.2f}" if seconds else "none came"
    missed = sum(one["tally"]["sent"] - one["tally"]["scored"] for one in runs)
    return [
        [
            "rollback: command to first score of the old version, s, median",
            f"at most {tables.MAX_ROLLBACK_S:g}", median, tables.met(is_met),
        ],
        ["rollback: requests not scored", 0, missed, tables.met(missed == 0)],
    ]  # fmt: skip


def _of_faults(document: Record) -> list[Row]:
    found = {name: one for name, one in document.get("faults", {}).items() if one["runs"]}
    rows = [(fault, found[name]) for name, fault in FAULTS.items() if name in found]
    missed = [fault.title for fault, record in rows if not tables.is_met_fault(fault, record)]
    told = f"{len(rows) - len(missed)} of {len(rows)}"
    told += f"; not: {', '.join(missed)}" if missed else ""
    return (
        [["faults that end as wanted below", "all", told, tables.met(not missed)]] if rows else []
    )


def _of_soak(document: Record) -> list[Row]:
    if not document.get("samples"):
        return []
    growth = {
        name: after / before - 1 for name, (before, after) in ends(document["samples"]).items()
    }
    minutes = len(document["minutes"])
    is_met = growth["total_pss_bytes"] <= MAX_GROWTH and growth["descriptors"] <= MAX_GROWTH
    told = (
        f"memory {growth['total_pss_bytes']:+.2%}, descriptors {growth['descriptors']:+.2%} in "
        f"{minutes} minutes"
    )
    wanted = f"60 minutes without growth (at most {MAX_GROWTH:.0%})"
    return [["an hour of load", wanted, told, tables.met(is_met and minutes >= 60)]]
