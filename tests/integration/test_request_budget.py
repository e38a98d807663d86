"""
What one request costs, counted and not timed: a regression fails on any machine alike.

The bounds are what the handler needs today and a little more. Whoever exceeds one has added
work to every request; then it is a decision, and the number is raised here.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import telemetry
from iqa.network import checkpoint
from iqa.tasks.heads import HEADS_FILE
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT
from iqa_handler import IQAHandler
from tests.images import encode, photograph
from training.graph.export import export_onnx

PRETRAINED = ROOT / "training" / "pretrained"
REQUESTS = 50
PICTURE = encode(photograph(512, 384), "JPEG")
PIXEL_BYTES = 512 * 384 * 3

# Calls of Python functions, C functions included, by `handle` for one JPEG: of the request and its
# score, of the heads (decision 37), and of drift (decision 44).
MAX_CALLS = 600 + 270 + 30
# Bytes that Python and numpy allocate at the worst moment of one request: Pillow hands its pixels
# out in pieces and joins them, which is two copies for a moment; a third would not fit, nor would
# a second copy of the file.
MAX_ALLOCATED_BYTES = int(2.2 * PIXEL_BYTES) + len(PICTURE)
# Lines on the worker's stdout, each of which Java reads and parses: four histograms of up to 20
# lines, one of 11, five counters; for drift one for each bin that got a picture, which of one
# picture are 17. They are of a second, however many requests it has.
MAX_LINES_PER_FLUSH = 95 + 17


@pytest.fixture(scope="module")
def handler(
    tmp_path_factory: pytest.TempPathFactory, untrained: Path
) -> Iterator[tuple[IQAHandler, Context]]:
    """The handler on the exported graph, as a worker holds it."""
    folder = tmp_path_factory.mktemp("unpacked")
    network, _ = checkpoint.load(untrained)
    export_onnx(network, folder / "model.onnx")
    # With everything that a card can ask of a request: the shipped model's calibration, interval.
    for name in (checkpoint.CARD_FILE, HEADS_FILE):
        shutil.copy(PRETRAINED / name, folder)
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "1"}}))
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    context = Context("iqa", str(folder), {}, 1, None, "", True, metrics, {})
    level = logging.getLogger().level
    loaded = IQAHandler()
    loaded.initialize(context)
    ask(loaded, context)
    yield loaded, context
    logging.getLogger().setLevel(level)


def ask(handler: IQAHandler, context: Context) -> None:
    """Send one request, with the headers that the front sets."""
    headers = {"X-Request-ID": "a-1", "X-Request-Start": f"{time.time():.3f}"}
    context.request_processor = [RequestProcessor(headers)]
    (reply,) = handler.handle([{"body": bytearray(PICTURE)}], context)
    assert '"score"' in reply and '"interval"' in reply


def test_function_calls_of_a_request(handler: tuple[IQAHandler, Context]) -> None:
    """Work added to every request shows as calls."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for _ in range(REQUESTS):
            ask(*handler)
    finally:
        sys.setprofile(None)
    assert 50 < calls / REQUESTS <= MAX_CALLS, calls / REQUESTS


def test_copies_of_the_pixels(handler: tuple[IQAHandler, Context]) -> None:
    """The pixels leave Pillow once: one copy more would break the bound."""
    tracemalloc.start()
    try:
        ask(*handler)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        ask(*handler)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert PIXEL_BYTES <= peak - before <= MAX_ALLOCATED_BYTES, (peak - before) / PIXEL_BYTES


def test_lines_that_java_has_to_parse(
    handler: tuple[IQAHandler, Context],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No line for a request; one bundle a second, however many requests it counts."""
    handler[0]._telemetry.flush()
    for thread in threading.enumerate():  # a flush of a test before may be under way
        if isinstance(thread, threading.Timer):
            thread.join(10)
    caplog.clear()
    monkeypatch.setattr(telemetry, "FLUSH_INTERVAL_S", 3600.0)
    with caplog.at_level(logging.INFO, logger="ts.metrics.caching_metric"):
        for _ in range(REQUESTS):
            ask(*handler)
        assert not caplog.records
        handler[0]._telemetry.flush()
    assert 0 < len(caplog.records) <= MAX_LINES_PER_FLUSH, len(caplog.records)
