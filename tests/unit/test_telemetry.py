"""Counting in memory and reporting in bundles, with TorchServe's own metric classes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from telemetry import BUCKETS_S, Telemetry
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from training.tracking_uri import ROOT


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of version 3, reporting when it is told to."""
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    counted = Telemetry(metrics, "3", "iqa")
    yield counted
    counted.flush()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what Java would read: name and value, with the labels."""
    return [
        record.getMessage().split("|#type")[0].removeprefix("[METRICS]")
        for record in caplog.records
        if record.getMessage().startswith("[METRICS]")
    ]


def test_many_counts_become_one_line(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand requests are one increment of a thousand, labelled with the version."""
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            telemetry.count("iqa_scores_total", "good")
        telemetry.flush()
    assert lines(caplog) == [
        "iqa_scores_total.Count:1000.0|#label:good,ModelVersion:3,ModelName:iqa,Level:Model"
    ]


def test_a_histogram_is_cumulative(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """Each duration counts in its bucket, in all above it and in +Inf; the sum is in seconds."""
    with caplog.at_level(logging.INFO):
        for seconds in (0.012, 0.02, 30.0):
            telemetry.observe("iqa_latency_seconds", seconds, "decode")
        telemetry.flush()
    at = {
        line.split("le:")[1].split(",")[0]: float(line.split(":")[1].split("|")[0])
        for line in lines(caplog)
        if "_bucket" in line
    }
    assert at["0.015"] == 1
    assert at["0.02"] == 2  # a bucket holds its own bound
    assert at[f"{BUCKETS_S[-1]:g}"] == 2
    assert at["+Inf"] == 3
    assert "0.01" not in at
    rest = [line.split("|")[0] for line in lines(caplog) if "_bucket" not in line]
    assert rest == ["iqa_latency_seconds_count.Count:3.0", "iqa_latency_seconds_sum.Seconds:30.032"]


def test_what_is_counted_is_reported_within_a_second_or_so(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to ask: a timer reports, and then stops until something is counted again."""
    with caplog.at_level(logging.INFO):
        telemetry.count("iqa_rejections_total", "empty")
        assert telemetry._timer is not None
        telemetry._timer.join(timeout=5)
    assert len(lines(caplog)) == 1
    assert telemetry._timer is None
