"""What the handler puts into a row of the prediction log, and what it tells Prometheus of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iqa.drift.measures import of_features, of_file, of_pixels, projection
from iqa.imaging.decoding import DecodedImage
from iqa.imaging.statistics import N_STATISTICS
from PIL import Image
from prediction_log import FOLDER, STORE, PredictionLog, archive_sha256, worker_id
from telemetry import Item
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT
from scripts.drift_report.traffic import traffic_of
from scripts.prediction_log import maintenance, reading
from scripts.prediction_log.verify import verify

MODEL = {"name": "iqa", "version": "7"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DECODED = DecodedImage(
    image=Image.new("RGB", (8, 8)), size=(768, 512), format="JPEG", warnings=("upscaled",)
)
SCORED = Item(
    0,
    reply={
        "score": 61.5, "label": "good", "interval": [54.0, 69.0], "coverage": 0.9,
        "warnings": ["upscaled"], "image": {"width": 768}, "decision": "review",
    },
    outcome="scored", decoded=DECODED, waited_s=0.002, decode_s=0.0040004, network_s=0.02,
    n_bytes=1234, digest="ab" * 32,
)  # fmt: skip


def context_of(*headers: dict[str, Any], model_dir: str = "") -> Context:
    """Return a batch with these headers; TorchServe's ids are ts-0, ts-1."""
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    manifest = {"model": {"modelName": "iqa", "modelVersion": "7"}}
    context = Context("iqa", model_dir, manifest, 1, None, "", metrics=metrics)
    context.request_processor = [RequestProcessor(one) for one in headers]
    context.request_ids = {index: f"ts-{index}" for index in range(len(headers))}
    return context


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that the environment asks for."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def rows_of(folder: Path, log: PredictionLog) -> list[dict[str, Any]]:
    """Return what was written."""
    assert log._writer is not None
    log._writer.close()
    assert verify(folder).problems == []
    return list(reading.rows_of(folder))


def test_a_score_is_a_row_with_all_that_the_handler_knows(folder: Path) -> None:
    """CloudEvents' names where it has one, the rest in `data`; no pixels."""
    context = context_of({"X-Request-ID": "mine-1", "traceparent": TRACE})
    log = PredictionLog(context, MODEL)
    log.record([SCORED], 0.0251, context)
    (row,) = rows_of(folder, log)
    assert row.pop("time").endswith("Z")
    for name in ("id", "hash", "prevhash", "salt"):
        assert row.pop(name)
    assert row == {
        "specversion": "1.0", "type": "iqa.prediction.scored",
        "source": "/models/iqa/versions/7", "datacontenttype": "application/json",
        "subject": f"sha256:{'ab' * 32}", "traceparent": TRACE,
        "data": {
            "model": "iqa", "version": "7", "request_id": "mine-1", "status": 200, "bytes": 1234,
            "width": 768, "height": 512, "format": "JPEG", "score": 61.5, "label": "good",
            "interval": [54.0, 69.0], "decision": "review", "warnings": ["upscaled"],
            "queue_s": 0.002, "decode_s": 0.004, "network_s": 0.02, "whole_s": 0.0271,
        },
    }  # fmt: skip
    assert maintenance.compact(folder) == (1, [])  # Parquet has a column for each


def test_form_fields_named_like_headers_cost_no_row(folder: Path) -> None:
    """TorchServe puts a dictionary under the name of each field between the headers."""
    names = ("X-Request-ID", "X-Request-Id", "x-request-id", "traceparent")
    context = context_of({name: {"content-type": ""} for name in names})
    log = PredictionLog(context, MODEL)
    log.record([SCORED], 0.02, context)
    (row,) = rows_of(folder, log)
    assert row["data"]["request_id"] == "ts-0"
    assert "traceparent" not in row


@pytest.mark.parametrize("has_features", [True, False])
def test_what_was_measured_for_drift_is_in_the_row(folder: Path, has_features: bool) -> None:
    """As the page reads it back; size, format and score are there once."""
    seen = np.linspace(0, 1, N_STATISTICS, dtype=np.float32)
    measured = {**of_file((768, 512), "JPEG"), **of_pixels(seen), "score": 61.5}
    if has_features:
        measured |= of_features(np.ones(8, np.float32), projection(8))
    context = context_of({})
    log = PredictionLog(context, MODEL)
    log.record([dataclasses.replace(SCORED, measured=measured)], 0.0251, context)
    rows_of(folder, log)
    columns = traffic_of(folder)["iqa 7"].columns
    assert {name: column.tolist() for name, column in columns.items()} == {
        name: [value] for name, value in measured.items()
    }


def test_a_class_is_a_row_with_its_confidence(folder: Path) -> None:
    """Another task has other names in its reply."""
    reply = {
        "predicted_class": 3, "predicted_label": "dress", "confidence": 0.91,
        "probabilities": {"dress": 0.91, "coat": 0.09}, "warnings": [],
    }  # fmt: skip
    item = Item(0, reply=reply, outcome="scored", decoded=DECODED, n_bytes=9, digest="cd" * 32)
    context = context_of({})
    log = PredictionLog(context, MODEL)
    log.record([item], 0.02, context)
    (row,) = rows_of(folder, log)
    told = {name: row["data"].get(name) for name in ("class", "label", "confidence", "score")}
    assert told == {"class": 3, "label": "dress", "confidence": 0.91, "score": None}
    assert row["data"]["request_id"] == "ts-0"
    assert maintenance.compact(folder) == (1, [])


def test_refusals_and_failures_are_rows_and_a_description_is_none(folder: Path) -> None:
    """With reason and status; a body that was never read has no digest, a map is no field."""
    items = [
        Item(0, status=400, outcome="rejected", reason="empty", digest="e" * 64),
        Item(1, status=503, outcome="expired", waited_s=11.0),
        Item(2, status=500, outcome="failed", reason="score", decoded=DECODED, digest="f" * 64),
        Item(3),
        Item(4, reply={"score": 50.0, "map": [[1]]}, outcome="explained", decoded=DECODED),
    ]
    context = context_of({}, {}, {}, {}, {"traceparent": "x" * 55})
    log = PredictionLog(context, MODEL)
    log.record(items, 0.02, context)
    rows = rows_of(folder, log)
    assert [row["type"].rpartition(".")[2] for row in rows] == [
        "rejected", "expired", "failed", "explained",
    ]  # fmt: skip
    assert [row["data"]["status"] for row in rows] == [400, 503, 500, 200]
    assert [row["data"].get("reason") for row in rows] == ["empty", None, "score", None]
    assert (rows[0]["subject"], rows[0]["data"]["bytes"]) == (f"sha256:{'e' * 64}", 0)
    assert not {"subject", "traceparent"} & rows[3].keys()
    assert "map" not in rows[3]["data"]
    assert maintenance.compact(folder) == (1, [])


def test_without_a_folder_nothing_is_logged_and_no_digest_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Off by default."""
    monkeypatch.setenv(FOLDER, "")
    context = context_of({})
    log = PredictionLog(context, MODEL)
    assert log.digest_of(b"picture") is None
    log.record([SCORED], 0.02, context)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_the_pictures_bytes(folder: Path) -> None:
    """As `sha256sum` says it."""
    log = PredictionLog(context_of({}), MODEL)
    assert log.digest_of(b"picture") == hashlib.sha256(b"picture").hexdigest()


def test_rows_that_are_written_and_lost_are_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the system's error number, by worker; a fault in making a row fails nothing."""
    context = context_of({})
    with caplog.at_level(logging.INFO, "ts.metrics.caching_metric"):
        log = PredictionLog(context, MODEL)
        assert log._writer is not None
        log.record([SCORED], 0.02, context)
        log._writer.flush()
        folder.rename(folder.with_name("away"))
        log.record([SCORED], 0.02, context)
        log._writer.flush()
        log.record([Item(9, outcome="scored", digest="a")], 0.02, context)  # no such request
    told = [record.getMessage() for record in caplog.records if "[METRICS]" in record.msg]
    assert any(":written," in line and "total.Count:1" in line for line in told)
    assert any(":dropped," in line and "total.Count:1" in line for line in told)
    assert any("log_errno.Count:2|#worker:0," in line for line in told)
    assert "an answer was not taken" in caplog.text
    folder.with_name("away").rename(folder)


@pytest.mark.parametrize(
    ("command", "worker"),
    [
        (["w.py", "--sock-type", "unix", "--sock-name", "/tmp/x/.ts.sock.9003"], "9003"),
        (["pytest"], "0"),
    ],
)
def test_a_worker_knows_its_id(command: list[str], worker: str) -> None:
    """The same that the management API tells."""
    assert worker_id(command) == worker


def test_the_archive_is_named_only_if_it_is_the_one_that_was_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was replaced meanwhile, is away, or is damaged, is not."""
    unpacked, store = tmp_path / "unpacked", tmp_path / "store"
    unpacked.mkdir()
    store.mkdir()
    (unpacked / "provenance.json").write_text(json.dumps({"weights": "1"}))
    context = context_of(model_dir=str(unpacked))
    assert archive_sha256(context) is None
    monkeypatch.setenv(STORE, str(store))
    assert archive_sha256(context) is None
    mar = store / "iqa-7.mar"
    for weights, is_same in (("2", False), ("1", True)):
        with zipfile.ZipFile(mar, "w") as archive:
            archive.writestr("provenance.json", json.dumps({"weights": weights}))
        digest = hashlib.sha256(mar.read_bytes()).hexdigest()
        assert archive_sha256(context) == (digest if is_same else None)
    os.truncate(mar, 10)
    assert archive_sha256(context) is None
