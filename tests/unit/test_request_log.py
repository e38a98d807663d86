"""One line for a request, or none: what it holds, and what it does not repeat."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from request_log import ID_HEADERS, LOG_LEVEL, RequestLog, header_in, request_id
from telemetry import Item
from ts.context import Context, RequestProcessor

SCORED = Item(
    0, reply={"score": 61.5}, outcome="scored", waited_s=0.002, decode_s=0.004, network_s=0.02,
    n_bytes=1234,
)  # fmt: skip


def context_of(*headers: dict[str, Any]) -> Context:
    """Return a batch with these headers; TorchServe's ids are ts-0, ts-1."""
    context = Context("iqa", "", {}, 1, None, "")
    context.request_processor = [RequestProcessor(one) for one in headers]
    context.request_ids = {index: f"ts-{index}" for index in range(len(headers))}
    return context


def written(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the lines."""
    return [json.loads(record.getMessage()) for record in caplog.records]


def test_at_info_each_request_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Id, status, score, version, milliseconds by stage and bytes; what is unknown is left out."""
    monkeypatch.setenv(LOG_LEVEL, "INFO")
    refused = Item(1, status=400, outcome="rejected", reason="empty")
    log = RequestLog("7")
    log.write([SCORED, refused, Item(2)], 0.025, context_of({"X-Request-ID": "a-1"}, {}, {}))
    first, second = written(caplog)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "INFO", "logger": "iqa.requests", "request_id": "a-1", "server_id": "ts-0",
        "status": 200, "outcome": "scored", "score": 61.5, "version": "7", "bytes": 1234,
        "ms": {"queue": 2.0, "decode": 4.0, "network": 20.0, "whole": 27.0},
    }  # fmt: skip
    assert (second["request_id"], second["status"], second["reason"]) == ("ts-1", 400, "empty")
    assert "server_id" not in second


def test_at_the_default_level_only_a_failure_is_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is an ERROR with its traceback; a refused picture is the client's matter."""
    monkeypatch.delenv(LOG_LEVEL, raising=False)
    refused = Item(1, status=400, outcome="rejected", reason="empty")
    failed = Item(2, status=500, outcome="failed", reason="score", error="Traceback ...\nboom\n")
    RequestLog("7").write([SCORED, refused, failed], 0.025, context_of({}, {}, {}))
    (line,) = written(caplog)
    assert caplog.records[0].levelno == logging.ERROR
    assert (line["level"], line["request_id"], line["traceback"]) == (
        "ERROR", "ts-2", "Traceback ...\nboom\n",
    )  # fmt: skip
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.parametrize("told", ["", "a b", "a\nb", '"},{"', "x" * 65, "é"])
def test_an_id_that_could_be_anything_else_is_not_repeated(told: str) -> None:
    """Log and reply hold a client's id only if it is made of letters, digits and . _ -."""
    assert request_id(context_of({"X-Request-ID": told}), 0) == "ts-0"


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Request-Id", "x-request-id"])
def test_the_header_is_found_however_it_is_spelt(name: str) -> None:
    """TorchServe keeps the spelling of a header's name."""
    assert request_id(context_of({name: "a.B_c-9"}), 0) == "a.B_c-9"


def test_form_fields_named_like_headers_are_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TorchServe puts a dictionary under the name of each field between the headers."""
    monkeypatch.setenv(LOG_LEVEL, "INFO")
    fields = {name: {"content-type": ""} for name in (*ID_HEADERS, "traceparent")}
    RequestLog("7").write([SCORED], 0.025, context_of(fields))
    (line,) = written(caplog)
    assert line["request_id"] == "ts-0" and "traceparent" not in line
    assert request_id(context_of({**fields, "x-request-id": "mine-1"}), 0) == "mine-1"
    assert header_in({"a": {"content-type": ""}, "b": "", "c": "d"}, "a", "b", "c") == "d"


def test_a_level_nobody_knows_is_refused_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first request, and not silently."""
    monkeypatch.setenv(LOG_LEVEL, "info")
    with pytest.raises(ValueError, match="IQA_LOG_LEVEL: expected INFO or WARNING, got 'info'"):
        RequestLog("7")
