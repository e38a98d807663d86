"""Write the page of results, and its plots, from what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.plots import plot_soak
from benchmarks.reliability import plots, summary, tables

Record = dict[str, Any]


def write(results: Path, page: Path) -> int:
    """
    Write `results.md` and the plots; what was not measured is said.

    Args:
        results: Folder of swaps.json, faults.json and soak.json.
        page: Folder that is written to.

    Returns:
        0.

    Raises:
        FileNotFoundError: Nothing was measured.
    """
    documents = {
        name: json.loads(path.read_text())
        for name in ("swaps", "faults", "soak")
        if (path := results / f"{name}.json").exists()
    }
    if not documents:
        raise FileNotFoundError(
            f"{results}: expected swaps.json, faults.json or soak.json, found none. "
            "Run: python -m benchmarks.reliability swaps"
        )
    page.mkdir(parents=True, exist_ok=True)
    if documents.get("swaps", {}).get("series"):
        plots.plot_swaps(documents["swaps"], page / "swaps.svg")
    if documents.get("faults", {}).get("faults"):
        plots.plot_faults(documents["faults"], page / "faults.svg")
    if documents.get("soak", {}).get("samples"):
        plot_soak(documents["soak"], page / "soak.svg")
    (page / "results.md").write_text(text(documents))
    print(f"written: {page}/results.md", file=sys.stderr)
    return 0


def text(documents: dict[str, Record]) -> str:
    """Return the page in Markdown."""
    swaps, faults = documents.get("swaps", {}), documents.get("faults", {})
    soak = documents.get("soak", {})
    parts = [
        "# Reliability: results\n",
        "Written by `python -m benchmarks.reliability report`; do not edit. "
        "What it means: [reliability](../reliability.md).\n",
        _machines(documents),
        "## In short\n",
        summary.table_of(swaps, faults, soak),
        "## Swaps under load\n",
        _conditions(swaps),
        *(["![latency around a swap](swaps.svg)\n"] if swaps.get("series") else []),
        tables.swaps(swaps),
        "## Rollbacks under load\n",
        tables.rollbacks(swaps),
        "## Faults under load\n",
        _conditions(faults),
        *(["![outcomes around each fault](faults.svg)\n"] if faults.get("faults") else []),
        tables.faults(faults),
        tables.meanings(faults),
        "## An hour of load\n",
        _conditions(soak),
        *(["![memory and latency over time](soak.svg)\n"] if soak.get("samples") else []),
        tables.soak(soak),
        *([_soak_words(soak)] if soak.get("minutes") else []),
    ]
    return "\n".join(part for part in parts if part)


def _conditions(document: Record) -> str:
    if not document:
        return ""
    front = "with the front" if document.get("is_fronted") else "without the front"
    return (
        f"{document.get('measured_at', '-')}, commit {document['versions']['commit']}; open loop, "
        f"{document['rate_per_s']:g} requests a second, {front}.\n"
    )


def _machines(documents: dict[str, Record]) -> str:
    """Return on what was measured: once where it was the same for all."""
    told: dict[str, list[str]] = {}
    for name, document in documents.items():
        machine, versions = document["machine"], document["versions"]
        ours = ", ".join(f"{package} {version}" for package, version in versions["ours"].items())
        on = (
            f"{machine['processor']}, {machine['usable_cores']} usable cores, "
            f"{machine['memory_bytes'] / 1e9:.0f} GB, {machine['system']}; "
            f"Python {versions['python']}, {versions['java']}, {ours}."
        )
        told.setdefault(on, []).append(name)
    if len(told) == 1:
        return "".join(f"{on}\n" for on in told)
    return "".join(f"- {', '.join(names)}: {on}\n" for on, names in told.items())


def _soak_words(document: Record) -> str:
    minutes = document["minutes"]
    sent = sum(sum(one["statuses"].values()) for one in minutes)
    scored = sum(one["statuses"].get("200", 0) for one in minutes)
    tails = sorted(one["latency"]["p99_ms"] for one in minutes)
    cut = ", cut short" if document.get("is_cut_short") else ""
    return (
        f"{len(minutes)} minutes{cut}: {sent} requests, {sent - scored} not scored; p99 by minute "
        f"{tails[0]:.0f} to {tails[-1]:.0f} ms, median {tails[len(tails) // 2]:.0f} ms.\n"
    )
