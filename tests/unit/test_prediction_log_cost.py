"""The table of what the prediction log costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.prediction_log_cost import WAYS, as_table, ratio


def _round(way: str, worker_ms: float, rate_per_s: float) -> dict[str, Any]:
    return {
        "way": way,
        "rate_per_s": rate_per_s,
        "latency": {"p50_ms": 100.0, "p99_ms": 200.0},
        "cpu_ms": {"jvm": 1.0, "worker": worker_ms, "side-car": 5.0},
    }


def test_throughput_is_compared_within_each_round() -> None:
    """A round in which the machine was busy slows both, and changes no share."""
    rounds = [
        _round(way, worker_ms, speed * rate_per_s)
        for rate_per_s in (95.0, 40.0, 96.0)
        for way, worker_ms, speed in zip(WAYS, (19.2, 19.0), (0.99, 1.0), strict=True)
    ]
    rows = [line.split(" | ") for line in as_table(rounds).splitlines()]
    figures = {row[0].lstrip("| "): [cell.rstrip(" |") for cell in row[1:]] for row in rows}
    assert figures["of the workers"] == ["19.20", "19.00", "+0.20"]
    assert figures["throughput, share of that without"] == ["0.990", "1", "0.990 to 0.990"]
    assert figures["CPU of both, share of that without"] == ["1.010", "1", "1.010 to 1.010"]


def test_the_interval_is_student_s() -> None:
    """Of three logarithms with mean 0 and deviation 0.01: 4.303 * 0.01 / sqrt(3)."""
    values = np.exp([-0.01, 0.0, 0.01])
    assert ratio(values, np.ones(3)) == pytest.approx(
        (1.0, np.exp(-0.02484), np.exp(0.02484)), 1e-4
    )
