"""
Counts of a worker, handed to TorchServe once a second.

TorchServe takes metrics as lines on the worker's stdout, which Java parses one by one; four lines
a request cost more than reading the picture's header. Here a request only adds to numbers in
memory. Histograms are kept as the counters that Prometheus makes of them (`_bucket`, `_sum`,
`_count`), because TorchServe's own has fixed buckets and takes a line for every sample.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from typing import Any, Final

from ts.metrics.metric_type_enum import MetricTypes

FLUSH_INTERVAL_S: Final = 1.0
BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip

Series = tuple[str, tuple[str, ...]]
"""A metric's name, and its own label values."""


class Telemetry:
    """
    Counters that are added to at once and reported in bundles.

    What was counted in the last second of a worker that is killed is lost.

    Args:
        metrics: TorchServe's, as in `context.metrics`; it knows what torchserve/metrics.yaml
            declares.
        version: The model's, a label of every metric.
        model_name: The name under which TorchServe serves the model.
    """

    def __init__(self, metrics: Any, version: str, model_name: str) -> None:
        self._metrics = metrics
        self._common = [version, model_name, "Model"]
        self._lock = threading.Lock()
        self._pending: dict[Series, float] = {}
        self._timer: threading.Timer | None = None

    def count(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter; its label values come in the order of torchserve/metrics.yaml."""
        self._add([((name, labels), amount)])

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add a duration to a histogram."""
        increments = [
            ((f"{name}_bucket", (*labels, f"{bound:g}")), 1.0)
            for bound in BUCKETS_S[bisect_left(BUCKETS_S, seconds) :]
        ]
        increments.append(((f"{name}_bucket", (*labels, "+Inf")), 1.0))
        increments.append(((f"{name}_count", labels), 1.0))
        increments.append(((f"{name}_sum", labels), seconds))
        self._add(increments)

    def flush(self) -> None:
        """Report what is pending."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            pending, self._pending, self._timer = self._pending, {}, None
        for (name, labels), amount in pending.items():
            counter = self._metrics.get_metric(name, MetricTypes.COUNTER)
            counter.add_or_update(amount, [*labels, *self._common])

    def _add(self, increments: list[tuple[Series, float]]) -> None:
        with self._lock:
            for series, amount in increments:
                self._pending[series] = self._pending.get(series, 0.0) + amount
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_INTERVAL_S, self.flush)
                self._timer.daemon = True
                self._timer.start()


def silence_torchserve(metrics: Any) -> None:
    """
    Stop what TorchServe's worker writes for every request; our own reports still pass.

    One line says that a request came, one how long it took; Java reads and drops both.
    """
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("ts.metrics.caching_metric").setLevel(logging.INFO)
    metrics.add_time = _nothing


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in for the metric PredictionTime."""
