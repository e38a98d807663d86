"""One row for each answer of the model, where the server was started with --prediction-log."""

from __future__ import annotations

import atexit
import errno
import hashlib
import logging
import os
import re
import socket
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from iqa.drift.measures import FEATURES, PIXELS, Measures
from iqa.prediction_log.chain import Row
from iqa.prediction_log.manifest import utc
from iqa.prediction_log.writer import LogWriter, Report
from request_log import header_in, id_in
from telemetry import Item
from ts.metrics.metric_type_enum import MetricTypes

logger = logging.getLogger(__name__)

FOLDER: Final = "PREDICTION_LOG"
STORE: Final = "IQA_MODEL_STORE"
ROWS: Final = "iqa_prediction_log_rows_total"
ERRNO: Final = "iqa_prediction_log_errno"
TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/, section 3.2.2."""
# What of a reply is in its row, and under which name.
TOLD: Final = {
    "score": "score",
    "label": "label",
    "interval": "interval",
    "predicted_class": "class",
    "predicted_label": "label",
    "confidence": "confidence",
    "decision": "decision",
    "warnings": "warnings",
}


@dataclass(slots=True, kw_only=True)  # frozen takes twice as long
class Answer:
    """
    What a row is made of, and no pixels.

    The thread that answers takes it and goes on: made there, right after the network, each row
    would cost eight times what it costs among others in the thread that writes.
    """

    at_s: float
    elapsed_s: float
    outcome: str
    status: int
    reason: str | None
    reply: Mapping[str, Any]
    digest: str | None
    n_bytes: int | None
    waited_s: float | None
    decode_s: float | None
    network_s: float | None
    size: tuple[int, int] | None
    format: str | None
    measured: Measures
    headers: Mapping[str, Any]
    server_id: str


class PredictionLog:
    """
    Hands rows to a thread that writes them; without PREDICTION_LOG in the environment, nothing.

    Args:
        context: TorchServe's, of the load.
        model: `name` and `version`.
    """

    def __init__(self, context: Any, model: Mapping[str, str]) -> None:
        folder = os.environ.get(FOLDER)
        self._writer: LogWriter | None = None
        if not folder:
            return
        digest = archive_sha256(context)
        self._source = f"/models/{model['name']}/versions/{model['version']}"
        self._known = {
            "model": model["name"],
            "version": model["version"],
            **({} if digest is None else {"archive_sha256": digest}),
        }
        self._metrics = context.metrics
        self._common = [model["version"], context.model_name, "Model"]
        self._worker = worker_id(sys.argv)
        facts = {**self._known, "worker": self._worker, "pid": os.getpid()}
        self._report(Report(written=0, dropped=0, errno=0))
        self._writer = LogWriter(
            Path(folder), {**facts, "host": socket.gethostname()}, self._report, as_row=self._row
        )
        atexit.register(self._writer.close)

    def digest_of(self, body: bytes) -> str | None:
        """Return the picture's digest; None where nothing is logged: it takes a tenth of a ms."""
        return None if self._writer is None else hashlib.sha256(body).hexdigest()

    def record(self, items: Iterable[Item], elapsed_s: float, context: Any) -> None:
        """Take an answered batch; what goes wrong here is no client's matter."""
        if self._writer is None:
            return
        try:
            now_s = time.time()
            for item in items:
                if item.outcome is not None:
                    self._writer.add(_answer(item, elapsed_s, context, now_s))
        except Exception:
            logger.exception("prediction log: an answer was not taken")
            self._report(Report(written=0, dropped=1, errno=errno.EINVAL))

    def _row(self, answer: Answer) -> Row:
        row: Row = {
            "specversion": "1.0",
            "type": f"iqa.prediction.{answer.outcome}",
            "source": self._source,
            "time": utc(answer.at_s),
            "datacontenttype": "application/json",
        }
        if answer.digest is not None:
            row["subject"] = f"sha256:{answer.digest}"
        traceparent = header_in(answer.headers, "traceparent") or ""
        if TRACEPARENT.fullmatch(traceparent):
            row["traceparent"] = traceparent
        data: dict[str, Any] = {
            **self._known,
            "request_id": id_in(answer.headers, answer.server_id),
            "status": answer.status,
            "reason": answer.reason,
            "bytes": answer.n_bytes if answer.digest is not None else None,
            "queue_s": answer.waited_s,
            "decode_s": answer.decode_s,
            "network_s": answer.network_s or None,
            "whole_s": answer.elapsed_s + (answer.waited_s or 0.0),
        }
        if answer.size is not None:
            width, height = answer.size
            data |= {"width": width, "height": height, "format": answer.format}
        if answer.measured:  # size, format and score are there already
            data |= {name: answer.measured[name] for name in PIXELS}
            if FEATURES[0] in answer.measured:
                data["features"] = [answer.measured[name] for name in FEATURES]
        if answer.reason is None:
            data |= {name: answer.reply[key] for key, name in TOLD.items() if key in answer.reply}
        row["data"] = {
            name: round(value, 6) if name.endswith("_s") else value
            for name, value in data.items()
            if value is not None
        }
        return row

    def _report(self, report: Report) -> None:
        """Hand the counts to TorchServe; one whose metrics.yaml is older knows none of them."""
        try:
            rows = self._metrics.get_metric(ROWS, MetricTypes.COUNTER)
            rows.add_or_update(report.written, ["written", *self._common])
            rows.add_or_update(report.dropped, ["dropped", *self._common])
            stopped = self._metrics.get_metric(ERRNO, MetricTypes.GAUGE)
            stopped.add_or_update(report.errno, [self._worker, *self._common])
        except Exception:
            logger.exception("prediction log: %s were not counted", report)


def _answer(item: Item, elapsed_s: float, context: Any, now_s: float) -> Answer:
    assert item.outcome is not None  # else it has no answer
    decoded = item.decoded
    return Answer(
        at_s=now_s, elapsed_s=elapsed_s, outcome=item.outcome, status=item.status,
        reason=item.reason, reply=item.reply, digest=item.digest, n_bytes=item.n_bytes,
        waited_s=item.waited_s, decode_s=item.decode_s, network_s=item.network_s,
        size=None if decoded is None else decoded.size,
        format=None if decoded is None else decoded.format,
        measured=item.measured,
        headers=context.get_all_request_header(item.index),
        server_id=context.get_request_id(item.index),
    )  # fmt: skip


def worker_id(command: list[str]) -> str:
    """Return TorchServe's id of this worker, the end of its socket's name; the next one gets it."""
    words = dict(pairwise(command))
    return words.get("--sock-name", "").rpartition(".")[2] or "0"


def archive_sha256(context: Any) -> str | None:
    """Return the digest of the archive that was unpacked; None where it is not known to be that."""
    store, named = os.environ.get(STORE), (context.manifest or {}).get("model") or {}
    if not store or not named:
        return None
    mar = Path(store) / f"{named.get('modelName')}-{named.get('modelVersion')}.mar"
    unpacked = Path(context.system_properties["model_dir"])
    try:
        with mar.open("rb") as file, zipfile.ZipFile(file) as archive:
            # It names the digest of everything else.
            if archive.read("provenance.json") != (unpacked / "provenance.json").read_bytes():
                return None
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, KeyError, zipfile.BadZipFile):
        return None
