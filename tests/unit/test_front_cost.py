"""The table of what the front costs."""

from __future__ import annotations

from typing import Any

from benchmarks.front_cost import WAYS, as_table


def _round(way: str, front_ms: float, rate_per_s: float) -> dict[str, Any]:
    return {
        "way": way,
        "rate_per_s": rate_per_s,
        "latency": {"p50_ms": 100.0, "p99_ms": 200.0},
        "cpu_ms": {"front": front_ms, "jvm": 1.0, "worker": 19.0, "side-car": 5.0},
    }


def test_medians_and_their_difference() -> None:
    """One bad round of three changes no figure, and what is not asked costs no request."""
    rounds = [
        _round(way, front_ms, rate_per_s)
        for way, front_ms in zip(WAYS, (0.2, 0.0), strict=True)
        for rate_per_s in (95.0, 96.0, 12.0)
    ]
    rows = [line.split(" | ") for line in as_table(rounds).splitlines()]
    figures = {row[0].lstrip("| "): [cell.rstrip(" |") for cell in row[1:]] for row in rows}
    assert figures["CPU of nginx, ms a request"] == ["0.20", "0.00", "+0.20"]
    assert figures["of all three"] == ["20.20", "20.00", "+0.20"]
    assert figures["scores a second"] == ["95.00", "95.00", "+0.00"]
