"""The tables of the reliability page, in Markdown, from the documents of `runs` and of the soak."""

from __future__ import annotations

import statistics
from typing import Any, Final

from benchmarks.reliability.faults import FAULTS, Fault
from benchmarks.report_tables import number, table
from benchmarks.soak import ends

Record = dict[str, Any]

MAX_P99_RATIO: Final = 3.0
MAX_ROLLBACK_S: Final = 5.0


def swaps(document: Record) -> str:
    """Each series: what became of the requests, and latency in swaps and without."""
    rows = []
    for record in document.get("series", {}).values():
        counts, marks = record["tally"], record["marks"]
        rows.append(
            [
                record["series"],
                record["by"],
                len(marks),
                counts["sent"],
                counts["refused"] + counts["failed"] + counts["unaccepted"],
                counts["lost"],
                f"{record['calm']['p50_ms']:.0f} / {record['swapping']['p50_ms']:.0f}",
                f"{record['calm']['p99_ms']:.0f} / {record['swapping']['p99_ms']:.0f}",
                f"{record['p99_ratio']:.2f}",
                met(is_met_swaps(record)),
                number(statistics.median(m["first_s"] - m["began_s"] for m in marks), 1),
                number(statistics.median(m["ended_s"] - m["began_s"] for m in marks), 1),
            ]
        )
    head = [
        "series", "by", "swaps", "requests", "refused or failed", "lost", "p50 ms, calm / swap",
        "p99 ms, calm / swap", "p99 ratio", "met", "first score, s", "swap and watch, s",
    ]  # fmt: skip
    return table(head, rows)


def is_met_swaps(record: Record) -> bool:
    """Tell whether a series lost nothing, failed nothing and kept its tail."""
    counts = record["tally"]
    return counts["scored"] == counts["sent"] and record["p99_ratio"] <= MAX_P99_RATIO


def rollbacks(document: Record) -> str:
    """Each rollback, and the median."""
    runs = document.get("rollbacks", {}).get("runs", [])
    rows: list[list[object]] = []
    for i, one in enumerate(runs):
        counts = one["tally"]
        rows.append(
            [
                i + 1,
                number(one["first_score_s"], 2),
                number(one["command_s"], 1),
                counts["sent"],
                counts["sent"] - counts["scored"] - counts["lost"],
                counts["lost"],
                "yes" if one["is_right"] else "no",
            ]
        )
    known = [one["first_score_s"] for one in runs if one["first_score_s"] is not None]
    if known:
        commands = [one["command_s"] for one in runs]
        rows.append(["median", number(statistics.median(known), 2),
                     number(statistics.median(commands), 1), "", "", "", ""])  # fmt: skip
    head = [
        "rollback", "first score of the old version, s", "command, s", "requests",
        "refused or failed", "lost", "right version",
    ]  # fmt: skip
    return table(head, rows)


def faults(document: Record) -> str:
    """Each fault: what became of all requests of its runs, and when all was as before."""
    rows = []
    for name, fault in FAULTS.items():
        record = document.get("faults", {}).get(name)
        if record is None:
            continue
        runs = [one for one in record["runs"] if "error" not in one]
        if not runs:
            rows.append([fault.title, record.get("skipped", "failed"), *[""] * 9])
            continue
        counts = {kind: sum(one["tally"][kind] for one in runs) for kind in runs[0]["tally"]}
        backs = [one["back_s"] for one in runs if one["back_s"] is not None]
        right = sum(one["is_right"] for one in runs)
        rows.append(
            [
                fault.title,
                len(runs),
                counts["sent"],
                counts["scored"],
                counts["refused"],
                counts["failed"],
                counts["unaccepted"],
                counts["lost"],
                f"{statistics.median(backs):.1f} ({max(backs):.1f})" if backs else "-",
                f"{right} of {len(record['runs'])}",
                met(is_met_fault(fault, record)),
            ]
        )
    head = [
        "fault", "times", "requests", "scored", "refused", "failed", "not accepted", "lost",
        "back, s: median (worst)", "version right", "met",
    ]  # fmt: skip
    return table(head, rows)


def is_met_fault(fault: Fault, record: Record) -> bool:
    """Tell whether nothing was lost that may not be, and all was as before in time."""
    runs = record["runs"]
    if not runs or any("error" in one for one in runs):
        return False
    backs = [one["back_s"] for one in runs if one["back_s"] is not None]
    bound = fault.back_within_s
    is_back = bound is None or statistics.median(backs) <= bound
    lost = sum(one["tally"]["lost"] + one["tally"]["failed"] for one in runs)
    return all(one["is_right"] for one in runs) and is_back and lost <= fault.holds * len(runs)


def meanings(document: Record) -> str:
    """What was done for each fault, the bounds, and what was not scored."""
    rows = []
    for name, fault in FAULTS.items():
        record = document.get("faults", {}).get(name)
        if record is None:
            continue
        bound = "-" if fault.back_within_s is None else f"{fault.back_within_s:g} s"
        bound += f"; {fault.holds}" if fault.holds else ""
        rows.append([fault.title, fault.does, bound, _reasons(record), _notes(record)])
    return (
        "Wanted: back within, and how many it may fail or lose a time (none if not said).\n\n"
        + table(["fault", "what was done", "wanted", "not scored", "seen besides"], rows)
    )


def _reasons(record: Record) -> str:
    total: dict[str, int] = {}
    for one in record["runs"]:
        for reason, count in one.get("reasons", {}).items():
            total[reason] = total.get(reason, 0) + count
    ordered = sorted(total.items(), key=lambda item: -item[1])
    return "; ".join(f"{count} x {reason}" for reason, count in ordered[:4]) or "nothing"


def _notes(record: Record) -> str:
    """Return medians of what numbers were noted, and what was said otherwise."""
    notes = [one["notes"] for one in record["runs"] if "notes" in one]
    parts = []
    for key in sorted({key for one in notes for key in one} - {"version", "filled_bytes"}):
        values = [one[key] for one in notes if key in one]
        if all(isinstance(value, float) for value in values):
            parts.append(f"`{key}` {statistics.median(values):.1f}")
        else:
            different = list(dict.fromkeys(str(value) for value in values))
            parts.append(f"`{key}` {' or '.join(different[:2])}")
    return "; ".join(parts) or "-"


def soak(document: Record) -> str:
    """What an hour of load held before and after, and what it grew by."""
    if not document.get("samples"):
        return table([], [])
    titles = {
        "total_pss_bytes": ("memory (PSS), MB", 1e-6, "both ends of the last half"),
        "descriptors": ("descriptors", 1.0, "first and last third"),
        "threads": ("threads", 1.0, "first and last third"),
        "processes": ("processes", 1.0, "first and last third"),
    }
    rows = []
    for name, (before, after) in ends(document["samples"]).items():
        title, unit, compared = titles[name]
        row = [title, compared, f"{before * unit:.0f}", f"{after * unit:.0f}"]
        rows.append([*row, f"{after / before - 1:+.2%}"])
    return table(["", "medians of", "before", "after", "growth"], rows)


def met(is_met: bool) -> str:
    """Return yes or no."""
    return "yes" if is_met else "**no**"
