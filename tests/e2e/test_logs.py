"""What a real server writes: JSON, one line a request where that is wanted, each failure always."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import requests

from console.paths import ROOT
from scripts.server.log_lines import load_failure
from tests.server import RunningServer

PARROTS = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
# The network answers NaN for every picture but the square ones.
NAN = b"""

from dataclasses import replace as _replace

_reply = Scorer.reply


def _nan(self, decoded, seen, model=None, top_k=None):
    if decoded.size[0] != decoded.size[1]:
        seen = _replace(seen, outputs=np.float32("nan"))
    return _reply(self, decoded, seen, model, top_k)


Scorer.reply = _nan
"""


def log_of(server: RunningServer, name: str) -> Path:
    """Return one of its logs."""
    return server.state_dir / "logs" / name


def lines_of(server: RunningServer, expected: int = 0) -> list[dict[str, Any]]:
    """Return what requests.log holds, once it holds so many lines."""
    path, deadline = log_of(server, "requests.log"), time.monotonic() + 10
    while True:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= expected or time.monotonic() > deadline:
            return [json.loads(line) for line in lines]
        time.sleep(0.1)


def test_at_info_each_request_is_exactly_one_line(talkative: RunningServer) -> None:
    """Scored and refused ones; the id is the client's, or the one that the reply carries."""
    before = len(lines_of(talkative))
    scored = talkative.post(PARROTS, headers={"X-Request-ID": "mine-1"})
    refused = talkative.post(b"no picture")
    written = lines_of(talkative, before + 2)[before:]
    assert len(written) == 2
    first, second = written
    assert (first["request_id"], first["server_id"]) == ("mine-1", scored.headers["x-request-id"])
    assert (first["status"], first["outcome"], first["bytes"]) == (200, "scored", len(PARROTS))
    assert first["score"] == scored.json()["score"]
    assert first["version"] == "1"
    assert first["ms"]["whole"] >= first["ms"]["decode"] + first["ms"]["network"] > 0
    assert second["request_id"] == refused.headers["x-request-id"]
    assert (second["status"], second["reason"]) == (400, "undecodable")


def test_a_copy_of_the_lines_goes_where_that_is_asked_for(talkative: RunningServer) -> None:
    """IQA_LOG_TO, the log of a container: requests and what workers print, all of it JSON."""
    talkative.post(PARROTS, headers={"X-Request-ID": "mine-2"})
    lines_of(talkative, 1)
    lines = (talkative.state_dir.parent / "copy.log").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert "mine-2" in [line.get("request_id") for line in told]
    messages = [line["message"] for line in told if line["logger"] == "MODEL_LOG"]
    assert any(message.startswith("iqa version 1 loaded") for message in messages)


def test_every_line_of_the_logs_is_json(talkative: RunningServer) -> None:
    """Also what workers print; each has a time and a level."""
    for name in ("model_log.log", "requests.log"):
        lines = log_of(talkative, name).read_text().splitlines()
        assert lines
        for line in lines:
            assert {"time", "level", "logger"} <= set(json.loads(line)), line


def test_a_failure_is_told_with_its_id_and_hurts_nobody_else(server: RunningServer) -> None:
    """500 for the picture, a traceback in requests.log without being asked for, no worker lost."""
    broken = _broken(server.model_store)
    manage = server.url("MANAGEMENT_PORT", "/models")
    load = {"url": broken.name, "model_name": "iqa", "synchronous": "true"}
    assert requests.post(manage, params=load, timeout=60).ok
    try:
        before = len(lines_of(server))
        workers = server.manage("/990")[0]["workers"]
        failures_before = failures(server)
        url = server.url("INFERENCE_PORT", "/predictions/iqa/990")
        reply = requests.post(url, data=PARROTS, headers={"X-Request-ID": "mine-3"}, timeout=30)
        assert reply.status_code == 500, reply.text
        assert reply.json()["reason"] == "failed"
        assert "mine-3" in reply.json()["message"]
        (line,) = lines_of(server, before + 1)[before:]
        assert (line["level"], line["request_id"], line["reason"]) == ("ERROR", "mine-3", "score")
        assert "got nan" in line["traceback"]
        assert failures(server) == failures_before + 1  # what the watch of a deployment looks at
        assert server.manage("/990")[0]["workers"] == workers
        assert server.score(PARROTS)["model"]["version"] == "1"
        # A failed request is no failed load.
        assert load_failure(log_of(server, "model_log.log")) is None
    finally:
        assert requests.delete(f"{manage}/iqa/990", timeout=60).ok
        broken.unlink()


def failures(server: RunningServer) -> float:
    """Return TorchServe's own count of 5xx."""
    rows = [row for row in server.metrics().splitlines() if row.startswith("Requests5XX{")]
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


def _broken(store: Path) -> Path:
    """Make version 990: version 1 with the network's answer spoilt."""
    path = store / "iqa-990.mar"
    with zipfile.ZipFile(store / "iqa-1.mar") as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item).replace(b'"modelVersion": "1"', b'"modelVersion": "990"')
            new.writestr(item, content + NAN if item.filename == "iqa_handler.py" else content)
    return path
