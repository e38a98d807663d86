"""For the tests of the gateway: requests to the public port, and what a refusal looks like."""

from __future__ import annotations

import json
from typing import Any

import psutil
import requests

from console.paths import ROOT
from tests.server import RunningServer

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
PICTURE = PARROTS.read_bytes()
TOKEN = "a-secret-of-the-tests"
SCORE_FIELDS = {
    "score", "label", "interval", "coverage", "causes", "main_cause", "familiarity",
    "model", "image", "warnings",
}  # fmt: skip


def ask(server: RunningServer, path: str, **arguments: Any) -> requests.Response:
    """GET a path of the public port."""
    return requests.get(server.url("INFERENCE_PORT", path), timeout=60, **arguments)


def post(server: RunningServer, path: str, **arguments: Any) -> requests.Response:
    """POST to a path of the public port."""
    return requests.post(server.url("INFERENCE_PORT", path), timeout=120, **arguments)


def expect_refusal(reply: requests.Response, status: int, reason: str) -> None:
    """Check a refusal's status, shape and reason."""
    document = reply.json()
    assert (reply.status_code, document["reason"]) == (status, reason), document
    assert set(document) == {"code", "type", "message", "reason"}
    assert document["code"] == status


def process_of(server: RunningServer) -> psutil.Process:
    """Return the gateway's process."""
    return psutil.Process(json.loads((server.state_dir / "web.json").read_text())["pid"])
