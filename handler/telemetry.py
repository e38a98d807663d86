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
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from iqa.drift.measures import Measures
from iqa.drift.reference import Reference
from iqa.errors import STATUS_OF_REASON
from iqa.imaging.decoding import DecodedImage
from iqa.tasks.counted_labels import OTHER_LABELS, counted_labels
from iqa.tasks.score_deciles import TENTHS, tenth_of_score
from iqa.tasks.task import label_of
from numpy.typing import NDArray
from ts.metrics.metric_type_enum import MetricTypes

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S: Final = 1.0
BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0,
    10.0,
)  # fmt: skip
BUCKETS_MEGAPIXELS: Final = (0.1, 0.3, 1.0, 2.0, 5.0, 12.0, 25.0, 50.0)
STAGES: Final = ("queue", "decode", "network", "whole", "explain")
OUTCOMES: Final = ("scored", "explained", "rejected", "expired", "failed")
FAULTS: Final = ("decode", "network", "score")
"""Where an unexpected exception came from: reading, the network, or a score of NaN."""

DRIFT_PICTURES: Final = "iqa_drift_pictures_total"

Series = tuple[str, tuple[str, ...]]
"""A metric's name, and its own label values."""


@dataclass(slots=True)
class Item:
    """
    One request of a batch, from its arrival to its answer.

    Attributes:
        index: Its place in the batch.
        reply: What it is answered with.
        status: HTTP's.
        outcome: One of `OUTCOMES`; None for what is no prediction.
        reason: Why it was rejected, or one of `FAULTS`.
        decoded: The picture, once it was read.
        pixels: The network's input.
        n_bytes: Size of the image's file.
        digest: Its SHA-256, where predictions are logged.
        waited_s: Before it came to this worker; None if nobody measured it.
        decode_s: Reading and resizing it.
        network_s: The network's call that it was part of.
        error: Traceback of a fault.
        explains: In which form an explanation is wanted; None for a prediction.
        output: Which output is to be explained; None: the greatest.
        top_k: How many classes are wanted; None: as the task has it.
        picture: File that is sent in place of `reply`.
        beside: What a reply has beside the score, because the request asked for it.
        measured: For drift; empty where the archive has no reference.
    """

    index: int
    reply: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    outcome: str | None = None
    reason: str | None = None
    decoded: DecodedImage | None = None
    pixels: NDArray[np.uint8] | None = None
    n_bytes: int = 0
    digest: str | None = None
    waited_s: float | None = None
    decode_s: float = 0.0
    network_s: float = 0.0
    error: str | None = None
    explains: str | None = None
    output: int | None = None
    top_k: int | None = None
    picture: bytes | None = None
    beside: dict[str, Any] = field(default_factory=dict)
    measured: Measures = field(default_factory=dict)

    @property
    def megapixels(self) -> float | None:
        """Size of the file's image; None if it was not read."""
        if self.decoded is None:
            return None
        width, height = self.decoded.size
        return width * height / 1e6


class Telemetry:
    """
    Counters that are added to at once and reported in bundles.

    What was counted in the last second of a worker that is killed is lost.

    Args:
        metrics: TorchServe's, as in `context.metrics`; it knows what torchserve/metrics.yaml
            declares.
        version: The model's, a label of every metric.
        model_name: The name under which TorchServe serves the model.
        labels: All that a reply may hold.
        reference: What pictures are compared with, for drift; None: they are not.
    """

    def __init__(
        self,
        metrics: Any,
        version: str,
        model_name: str,
        labels: Sequence[str],
        reference: Reference | None = None,
    ) -> None:
        self._label_of = counted_labels(labels)
        self._reference = reference
        # Made once: each picture is counted in a dozen of these.
        self._bins: dict[str, tuple[Series, ...]] = {
            name: tuple((DRIFT_PICTURES, (name, label)) for label in spread.labels)
            for name, spread in (reference.spreads if reference else {}).items()
        }
        self._metrics = metrics
        self._common = [version, model_name, "Model"]
        self._lock = threading.Lock()
        self._counts: defaultdict[Series, float] = defaultdict(float)
        self._histograms: dict[Series, _Histogram] = {
            **{("iqa_latency_seconds", (stage,)): _Histogram(BUCKETS_S) for stage in STAGES},
            ("iqa_megapixels", ()): _Histogram(BUCKETS_MEGAPIXELS),
        }
        self._timer: threading.Timer | None = None

    def announce(self) -> None:
        """Report every series as 0: Prometheus sees an increase only of what was there before."""
        with self._lock:
            for name, values in (
                ("iqa_requests_total", OUTCOMES),
                ("iqa_scores_total", dict.fromkeys(self._label_of.values())),
                ("iqa_score_tenths_total", TENTHS),
                ("iqa_rejections_total", STATUS_OF_REASON),
                ("iqa_failures_total", FAULTS),
            ):
                for value in values:
                    self._counts[name, (value,)] += 0.0
            self._counts["iqa_score_points_total", ()] += 0.0
        zeros = [
            (series, 0.0)
            for (name, labels), histogram in self._histograms.items()
            for series, _ in histogram.increments(name, labels, all_buckets=True)
        ]
        self._report(zeros)
        self.flush()
        self._announce_reference()

    def _announce_reference(self) -> None:
        """
        Report what drift is measured against, and each bin as 0; once, for it does not change.

        A server whose metrics.yaml is older knows none of it: it serves without.
        """
        if self._reference is None:
            return
        try:
            pictures = self._metrics.get_metric(DRIFT_PICTURES, MetricTypes.COUNTER)
            known = self._metrics.get_metric("iqa_drift_reference_pictures", MetricTypes.GAUGE)
            limits = self._metrics.get_metric("iqa_drift_limit", MetricTypes.GAUGE)
        except Exception:
            logger.exception("drift is not counted: metrics.yaml does not declare its metrics")
            self._reference = None
            return
        for name, spread in self._reference.spreads.items():
            for label, count in zip(spread.labels, spread.counts, strict=True):
                pictures.add_or_update(0.0, [name, label, *self._common])
                known.add_or_update(count, [name, label, *self._common])
            if spread.limit is not None:
                limits.add_or_update(spread.limit, [name, *self._common])

    def add(self, items: Iterable[Item], elapsed_s: float) -> None:
        """
        Count a batch: one lock, and no text.

        Args:
            items: Answered.
            elapsed_s: From the batch's arrival in this worker to its answer.
        """
        with self._lock:
            for item in items:
                self._add(item, elapsed_s)
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_INTERVAL_S, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Report what is pending."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            counts, self._counts, self._timer = self._counts, defaultdict(float), None
            pending = list(counts.items())
            for (name, labels), histogram in self._histograms.items():
                pending += histogram.increments(name, labels)
                histogram.clear()
        self._report(pending)

    def _add(self, item: Item, elapsed_s: float) -> None:
        if item.outcome is None:
            return
        counts, observe = self._counts, self._observe
        counts["iqa_requests_total", (item.outcome,)] += 1
        if item.waited_s is not None:
            observe("queue", item.waited_s)
        if item.outcome == "scored":
            label = self._label_of.get(label_of(item.reply) or "", OTHER_LABELS)
            counts["iqa_scores_total", (label,)] += 1
            score = item.reply.get("score")
            if score is not None:  # a task may have labels and no scale
                counts["iqa_score_points_total", ()] += score
                counts["iqa_score_tenths_total", (tenth_of_score(score),)] += 1
            observe("decode", item.decode_s)
            observe("network", item.network_s)
            observe("whole", elapsed_s + (item.waited_s or 0.0))
            self._histograms["iqa_megapixels", ()].add(item.megapixels or 0.0)
            if self._reference is not None:
                for name, place in self._reference.bins_of(item.measured):
                    counts[self._bins[name][place]] += 1
        elif item.outcome == "explained":  # a second look at a picture is no second score
            observe("explain", elapsed_s + (item.waited_s or 0.0))
        elif item.outcome == "rejected":
            counts["iqa_rejections_total", (str(item.reason),)] += 1
        elif item.outcome == "failed":
            counts["iqa_failures_total", (str(item.reason),)] += 1

    def _observe(self, stage: str, seconds: float) -> None:
        self._histograms["iqa_latency_seconds", (stage,)].add(seconds)

    def _report(self, increments: list[tuple[Series, float]]) -> None:
        for (name, labels), amount in increments:
            counter = self._metrics.get_metric(name, MetricTypes.COUNTER)
            counter.add_or_update(amount, [*labels, *self._common])


class _Histogram:
    """Samples by bucket; made cumulative, as Prometheus wants them, only when reported."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
        self.clear()

    def add(self, sample: float) -> None:
        """Count a sample; a bucket holds its own bound."""
        self._counts[bisect_left(self._bounds, sample)] += 1
        self._sum += sample

    def clear(self) -> None:
        """Forget what was reported."""
        self._counts = [0] * len(self._names)
        self._sum = 0.0

    def increments(
        self, name: str, labels: tuple[str, ...], *, all_buckets: bool = False
    ) -> list[tuple[Series, float]]:
        """Return what the three counters of a histogram have to be raised by."""
        found: list[tuple[Series, float]] = []
        total = 0
        for bound, count in zip(self._names, self._counts, strict=True):
            total += count
            if total or all_buckets:
                found.append(((f"{name}_bucket", (*labels, bound)), float(total)))
        if found:
            found.append(((f"{name}_count", labels), float(total)))
            found.append(((f"{name}_sum", labels), self._sum))
        return found


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
