"""What the server must reach, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.aggregates import Figures
from benchmarks.measured_steps import LIMIT, OURS

UNMEASURED: Final = "not measured"


@dataclass(frozen=True, kw_only=True)
class Target:
    """
    One figure.

    Attributes:
        figure: Its name.
        measured: Its value; None if this run did not measure it.
        must: The bound that has to be kept.
        aim: The bound that is wished for; None where there is but one.
        unit: Written behind each number; % shows a share in percent.
        is_floor: The value must be at least, and not at most, the bound.
        digits: After the point.
    """

    figure: str
    measured: float | None
    must: float
    aim: float | None = None
    unit: str = ""
    is_floor: bool = False
    digits: int = 2

    def verdict(self) -> str:
        """Say whether it was reached, and which of the two bounds."""
        if self.measured is None:
            return UNMEASURED
        if self.aim is not None and self._keeps(self.measured, self.aim):
            return "aim reached"
        if not self._keeps(self.measured, self.must):
            return f"missed by {abs(self.measured - self.must) / (abs(self.must) or 1):.0%}"
        return "reached"

    def says(self, value: float | None) -> str:
        """Return a value with its unit."""
        if value is None:
            return "-"
        if self.unit == "%":
            return f"{value * 100:.{self.digits}f} %"
        return f"{value:.{self.digits}f}{' ' if self.unit else ''}{self.unit}"

    def _keeps(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_floor else value <= bound


def targets(figures: Figures) -> list[Target]:
    """Return the targets for MobileNetV2 at 512 x 384 on two cores."""
    rival = figures.best_rival()
    recovery_s = figures.overload(lambda record: record["recovery_s"])
    if figures.record(f"overload/{OURS}") and recovery_s is None:
        recovery_s = float("inf")  # it was watched, and did not recover
    return [
        Target(
            figure="throughput at 16 clients, share of the limit",
            measured=figures.ratio(OURS, LIMIT), must=0.83, aim=0.88, is_floor=True,
        ),
        Target(
            figure=f"throughput over the better of LitServe and BentoML ({rival or '-'})",
            measured=figures.ratio(OURS, rival) if rival else None,
            must=1.03, aim=1.12, unit="x", is_floor=True,
        ),
        Target(
            figure="throughput over FastAPI eager",
            measured=figures.ratio(OURS, "fastapi_eager"),
            must=9, aim=12, unit="x", is_floor=True, digits=1,
        ),
        Target(
            figure="throughput over TorchServe eager, 1 thread",
            measured=figures.ratio(OURS, "torchserve_eager"),
            must=8, aim=11, unit="x", is_floor=True, digits=1,
        ),
        Target(
            figure="CPU a request beyond decode and graph",
            measured=figures.overhead_ms(), must=1.2, aim=0.8, unit="ms",
        ),
        *_steady_targets(figures),
        *_overload_targets(figures, recovery_s),
        Target(
            figure="memory of all processes (PSS) after 100,000 requests",
            measured=_in_giga(figures.memory("total_pss_bytes")), must=1.1, aim=0.7, unit="GB",
        ),
        Target(
            figure="its growth in the last half",
            measured=figures.memory("growth"), must=0.01, aim=0.0, unit="%",
        ),
        Target(
            figure="process start to the first score",
            measured=figures.cold_start_s(), must=5, aim=3, unit="s",
        ),
        Target(
            figure="CPU of a 12-megapixel JPEG over a 0.2-megapixel one",
            measured=figures.large_picture_cost(), must=3, aim=2, unit="x",
        ),
        *_gate_targets(figures.results.facts["archive"].get("gate")),
    ]  # fmt: skip


def promises(figures: Figures) -> list[Target]:
    """Return the project's own bar from its beginning."""
    archive_bytes = figures.results.facts["archive"]["bytes"]
    return [
        Target(
            figure="mean latency at 100 requests/s",
            measured=figures.steady_latency_ms("mean_ms"), must=200, unit="ms", digits=1,
        ),
        Target(
            figure="p95 at 100 requests/s",
            measured=figures.steady_latency_ms("p95_ms"), must=300, unit="ms", digits=1,
        ),
        Target(
            figure="errors at 100 requests/s",
            measured=figures.steady_error_share(), must=0.01, unit="%",
        ),
        Target(
            figure="throughput", measured=figures.rate_per_s(OURS), must=100, unit="requests/s",
            is_floor=True, digits=0,
        ),
        Target(
            figure="memory of all processes",
            measured=_in_giga(figures.memory("total_pss_bytes")), must=2, unit="GB",
        ),
        Target(
            figure="CPU at 100 requests/s, share of all cores",
            measured=figures.steady_cpu_share(), must=0.7, unit="%", digits=0,
        ),
        Target(
            figure="inference", measured=figures.stage_ms("graph"), must=50, unit="ms", digits=1
        ),
        Target(figure="archive", measured=archive_bytes / 1e6, must=100, unit="MB", digits=1),
        Target(
            figure="process start to the first score",
            measured=figures.cold_start_s(), must=5, unit="s",
        ),
    ]  # fmt: skip


def _steady_targets(figures: Figures) -> list[Target]:
    prefix = "100 requests/s, open loop: "
    return [
        Target(
            figure=prefix + "mean", measured=figures.steady_latency_ms("mean_ms"),
            must=25, aim=15, unit="ms", digits=1,
        ),
        Target(
            figure=prefix + "p95", measured=figures.steady_latency_ms("p95_ms"),
            must=60, aim=35, unit="ms", digits=1,
        ),
        Target(
            figure=prefix + "p99", measured=figures.steady_latency_ms("p99_ms"),
            must=120, aim=70, unit="ms", digits=1,
        ),
        Target(
            figure=prefix + "errors", measured=figures.steady_error_share(),
            must=0, aim=0, unit="%",
        ),
        Target(
            figure=prefix + "CPU of the server, share of all cores",
            measured=figures.steady_cpu_share(), must=0.65, aim=0.5, unit="%", digits=0,
        ),
    ]  # fmt: skip


def _overload_targets(figures: Figures, recovery_s: float | None) -> list[Target]:
    prefix = "twice the capacity offered: "
    refusals_ms = figures.overload(
        lambda one: one["storm"]["refusal_latency"]["p99_ms"] if refused(one) else None
    )
    accepted_ms = figures.overload(lambda one: one["storm"]["latency"]["p99_ms"])
    return [
        Target(
            figure=prefix + "p99 of the refusals (503)",
            measured=refusals_ms,
            must=50, aim=50, unit="ms", digits=1,
        ),
        Target(
            figure=prefix + "p99 of the accepted",
            measured=None if accepted_ms is None else accepted_ms / 1000,
            must=1, aim=0.4, unit="s",
        ),
        Target(
            figure=prefix + "recovery", measured=recovery_s, must=2, aim=1, unit="s", digits=1
        ),
    ]  # fmt: skip


def _gate_targets(gate: dict[str, Any] | None) -> list[Target]:
    """Return what the gate of `build_mar --precision` found; float32 is exact and has none."""
    if gate is None:
        return []
    return [
        Target(
            figure=f"served ({gate['precision']}) against torch in float32: 99 % of the scores of "
            f"{gate['pictures']} rated photographs within",
            measured=gate["points_p99"], must=gate["max_points"], aim=0.4 * gate["max_points"],
            unit="points",
        )
    ]  # fmt: skip


def refused(record: dict[str, Any]) -> int:
    """Return how many requests an overload's record says were refused."""
    return int(record["storm"]["refusal_latency"]["n"])


def _in_giga(value_bytes: float | None) -> float | None:
    return None if value_bytes is None else value_bytes / 1e9
