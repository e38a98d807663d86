"""Counting in memory and reporting in bundles, with TorchServe's own metric classes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
from iqa.errors import STATUS_OF_REASON
from iqa.imaging.decoding import DecodedImage
from iqa.tasks.score_deciles import TENTHS, tenth_of_score
from iqa.tasks.task_table import QUALITY
from PIL import Image
from telemetry import BUCKETS_S, FAULTS, OUTCOMES, Item, Telemetry
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of version 3, reporting when it is told to."""
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    counted = Telemetry(metrics, "3", "iqa", QUALITY.labels({}))
    yield counted
    counted.flush()


def scored(score: float = 61.5, decode_s: float = 0.004, waited_s: float | None = None) -> Item:
    """Return a picture of two megapixels that was scored."""
    picture = DecodedImage(
        image=Image.new("RGB", (64, 64)), size=(2000, 1000), format="JPEG", warnings=()
    )
    return Item(
        0, reply={"score": score, "label": "good"}, outcome="scored", decoded=picture,
        decode_s=decode_s, network_s=0.02, waited_s=waited_s,
    )  # fmt: skip


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what Java would read: name and value, with the labels."""
    return [
        record.getMessage().split("|#type")[0].removeprefix("[METRICS]")
        for record in caplog.records
        if record.getMessage().startswith("[METRICS]")
    ]


def values(caplog: pytest.LogCaptureFixture, name: str) -> dict[str, float]:
    """Return the increments of one metric by their own labels."""
    found = {}
    for line in lines(caplog):
        told, labels = line.split("|#")
        if told.split(".")[0] == name:
            found[labels.split("ModelVersion")[0].rstrip(",")] = float(told.split(":")[1])
    return found


def test_many_requests_become_one_line_a_series(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand requests are one increment of a thousand, labelled with the version."""
    with caplog.at_level(logging.INFO):
        for _ in range(500):
            telemetry.add([scored(), scored()], 0.03)
        telemetry.flush()
    common = "ModelVersion:3,ModelName:iqa,Level:Model"
    assert f"iqa_requests_total.Count:1000.0|#outcome:scored,{common}" in lines(caplog)
    assert f"iqa_scores_total.Count:1000.0|#label:good,{common}" in lines(caplog)
    assert f"iqa_score_points_total.Count:61500.0|#{common}" in lines(caplog)
    assert f"iqa_score_tenths_total.Count:1000.0|#tenth:60-70,{common}" in lines(caplog)
    assert values(caplog, "iqa_megapixels_sum") == {"": 2000.0}
    assert len(lines(caplog)) == len(set(lines(caplog)))


def test_a_histogram_is_cumulative(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """Each duration counts in its bucket, in all above it and in +Inf; the sum is in seconds."""
    with caplog.at_level(logging.INFO):
        telemetry.add([scored(decode_s=seconds) for seconds in (0.012, 0.02, 30.0)], 0.0)
        telemetry.flush()
    buckets = values(caplog, "iqa_latency_seconds_bucket")
    at = {
        labels.split("le:")[1]: count
        for labels, count in buckets.items()
        if labels.startswith("stage:decode")
    }
    assert at["0.015"] == 1
    assert at["0.02"] == 2  # a bucket holds its own bound
    assert at[f"{BUCKETS_S[-1]:g}"] == 2
    assert at["+Inf"] == 3
    assert "0.01" not in at
    assert values(caplog, "iqa_latency_seconds_count")["stage:decode"] == 3
    assert values(caplog, "iqa_latency_seconds_sum")["stage:decode"] == pytest.approx(30.032)


def test_the_whole_begins_where_the_wait_began(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """What a request waited in the queue is part of it, and a stage where it was measured."""
    with caplog.at_level(logging.INFO):
        telemetry.add([scored(waited_s=0.5), scored()], 0.03)
        telemetry.flush()
    sums = values(caplog, "iqa_latency_seconds_sum")
    assert sums["stage:queue"] == 0.5
    assert sums["stage:whole"] == pytest.approx(0.56)
    assert values(caplog, "iqa_latency_seconds_count")["stage:queue"] == 1


def test_each_outcome_is_counted_once_and_only_scores_are_scores(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, expired, failed and explained pictures move no score and no decoding time."""
    items = [
        Item(0, outcome="rejected", reason="empty"),
        Item(1, outcome="expired", waited_s=20.0),
        Item(2, outcome="failed", reason="score"),
        Item(3, outcome="explained", reply={"score": 9.0, "label": "poor"}),
        Item(4),  # the management API's question
    ]
    with caplog.at_level(logging.INFO):
        telemetry.add(items, 0.1)
        telemetry.flush()
    assert values(caplog, "iqa_requests_total") == {
        f"outcome:{outcome}": 1.0 for outcome in OUTCOMES if outcome != "scored"
    }
    assert values(caplog, "iqa_rejections_total") == {"reason:empty": 1.0}
    assert values(caplog, "iqa_failures_total") == {"reason:score": 1.0}
    assert set(values(caplog, "iqa_latency_seconds_count")) == {"stage:queue", "stage:explain"}
    assert not values(caplog, "iqa_scores_total")


def test_every_series_is_announced_as_0(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """A series whose first value is 1 has no increase for Prometheus: it must have been 0."""
    with caplog.at_level(logging.INFO):
        telemetry.announce()
    assert {float(line.split("|")[0].split(":")[1]) for line in lines(caplog)} == {0.0}
    for name, label, closed in (
        ("iqa_requests_total", "outcome", OUTCOMES),
        ("iqa_failures_total", "reason", FAULTS),
        ("iqa_rejections_total", "reason", STATUS_OF_REASON),
        ("iqa_score_tenths_total", "tenth", TENTHS),
    ):
        assert set(values(caplog, name)) == {f"{label}:{value}" for value in closed}
    assert len(values(caplog, "iqa_megapixels_bucket")) == 9


def test_what_is_counted_is_reported_within_a_second_or_so(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to ask: a timer reports, and then stops until something is counted again."""
    with caplog.at_level(logging.INFO):
        telemetry.add([Item(0, outcome="rejected", reason="empty")], 0.001)
        deadline = time.monotonic() + 20
        while len(lines(caplog)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(lines(caplog)) == 2
    assert telemetry._timer is None


def test_nothing_is_lost_between_counting_and_reporting(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """Reports from another thread while requests are counted add up to all of them."""
    stop = threading.Event()

    def report() -> None:
        while not stop.is_set():
            telemetry.flush()

    reporter = threading.Thread(target=report)
    with caplog.at_level(logging.INFO):
        reporter.start()
        for _ in range(2000):
            telemetry.add([scored()], 0.03)
        stop.set()
        reporter.join()
        telemetry.flush()
    told = [float(line.split("|")[0].split(":")[1]) for line in lines(caplog)
            if line.startswith("iqa_requests_total")]  # fmt: skip
    assert len(told) > 1
    assert sum(told) == 2000


def test_tenths_cover_the_scale() -> None:
    """A range holds its lower end; 100 belongs to the last one."""
    assert [tenth_of_score(score) for score in (0.0, 9.9999, 10.0, 99.9, 100.0)] == [
        "0-10", "0-10", "10-20", "90-100", "90-100",
    ]  # fmt: skip
