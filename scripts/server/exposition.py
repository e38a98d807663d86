"""Metrics in Prometheus' text format, by its own client library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[Mapping[str, str], float]]
"""(labels, value) of each series."""


def gauge(name: str, help: str, values: Samples | float | None) -> Metric:
    """
    Return a metric that goes up and down.

    Args:
        name: With its unit, as Prometheus wants it: iqa_disk_free_bytes.
        help: One sentence.
        values: Value of each series, or of the one without labels; None: it is not known.
    """
    return _filled(GaugeMetricFamily(name, help), name, values)


def counter(name: str, help: str, values: Samples | float | None) -> Metric:
    """Return a metric that only goes up; see `gauge`. Its name ends in _total."""
    return _filled(CounterMetricFamily(name.removesuffix("_total"), help), name, values)


def page(metrics: Iterable[Metric]) -> bytes:
    """Return what GET /metrics answers; a metric without a value is left out."""
    return generate_latest(_Collected([metric for metric in metrics if metric.samples]))


def joined(metrics: Iterable[Metric]) -> list[Metric]:
    """
    Return metrics of several sources as one page may have them: each name once.

    Where two sources tell the same series, the lower value counts: what one of them misses is
    missing.
    """
    by_name: dict[str, Metric] = {}
    for metric in metrics:
        known = by_name.setdefault(metric.name, metric)
        if known is metric:
            continue
        for sample in metric.samples:
            same = [
                i
                for i, other in enumerate(known.samples)
                if (other.name, other.labels) == (sample.name, sample.labels)
            ]
            if not same:
                known.samples.append(sample)
            elif sample.value < known.samples[same[0]].value:
                known.samples[same[0]] = sample
    return list(by_name.values())


@dataclass(frozen=True)
class _Collected:
    """What `generate_latest` asks for; not the global registry, which counts Python's own."""

    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics


def _filled(metric: Metric, name: str, values: Samples | float | None) -> Metric:
    if values is None:
        return metric
    if isinstance(values, int | float):
        values = [({}, values)]
    for labels, value in values:
        metric.add_sample(name, dict(labels), value)
    return metric
