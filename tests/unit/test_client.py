"""The client of TorchServe: room in a full queue, and whose 5xx are counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from scripts.rollout.watch_after_switch import between
from scripts.server import client
from scripts.server.addresses import Addresses
from scripts.server.client import Answers, TorchServe
from scripts.server.http_client import NotNow, is_full

FULL = {
    "code": 503,
    "type": "ServiceUnavailableException",
    "message": 'Model "iqa" Version 1 has no worker to serve inference request. Please use scale '
    "workers API to add workers. If this is a sequence inference, please check if it is closed, or "
    "expired; or exceeds maxSequenceJobQueueSize",
}


def handled(model: str, outcome: str, count: int) -> str:
    """Return a line as the handler's counters have it."""
    labels = f'outcome="{outcome}",ModelVersion="1",ModelName="{model}",Level="Model",Hostname="a",'
    return f"iqa_requests_total{{{labels}}} {count}.0\n"


def answered(model: str, count: int) -> str:
    """Return a line as TorchServe's counters have it."""
    labels = f'model_name="{model}",model_version="default",hostname="a",'
    return f"ts_inference_requests_total{{{labels}}} {count}.0\n"


PAGE = 'Requests5XX{Level="Host",Hostname="a",} 7.0\n' + answered("iqa", 100)
PAGE += handled("iqa", "failed", 2) + handled("iqa", "scored", 98)
OTHER = answered("other", 5) + handled("other", "failed", 5)


class Crowded:
    """Refuses so many predictions as TorchServe does with a full queue, then scores."""

    def __init__(self) -> None:
        self.refusals = 0
        self.asked = 0
        self.page = PAGE
        crowded = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                crowded.asked += 1
                if crowded.asked <= crowded.refusals:
                    self._send(503, json.dumps(FULL))
                else:
                    self._send(200, json.dumps({"score": 50.0}))

            def do_GET(self) -> None:
                self._send(200, crowded.page)

            def _send(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.torchserve = TorchServe(Addresses(inference=url, management=url, metrics=url), "iqa")


@pytest.fixture
def crowded() -> Iterator[Crowded]:
    """Listens while a test runs."""
    made = Crowded()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_an_image_of_ours_waits_for_room(crowded: Crowded) -> None:
    """A queue that others fill says nothing of a version: it is asked until a place is free."""
    crowded.refusals = 5
    assert crowded.torchserve.score(b"image") == (200, {"score": 50.0})
    assert crowded.asked == 6


def test_a_queue_that_stays_full_is_told(crowded: Crowded, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that it was given, and not for ever."""
    monkeypatch.setattr(client, "ROOM_POLL_S", 0.05)
    crowded.refusals = 10_000
    code, reply = crowded.torchserve.score(b"image", room_s=1.0)
    assert is_full(code, reply)
    assert 1 < crowded.asked <= 21


def test_a_page_in_place_of_versions_is_not_the_models_fault(crowded: Crowded) -> None:
    """As a proxy's login page answers: later the address may be the server's again."""
    crowded.page = "<html>Log in</html>"
    with pytest.raises(NotNow, match="models: expected a list, got 200: <html>Log in"):
        crowded.torchserve.entries()


def test_alone_a_model_is_charged_with_all_5xx(crowded: Crowded) -> None:
    """TorchServe's own count has those of dead workers and full queues, too."""
    assert crowded.torchserve.answers() == Answers(by_path={"default": 100}, failed=7)


def test_another_models_failures_are_not_this_ones(crowded: Crowded) -> None:
    """A version must not be taken back because another model on the server fails."""
    crowded.page = PAGE + OTHER
    assert crowded.torchserve.answers() == Answers(by_path={"default": 100}, failed=2)


def test_what_expired_under_overload_is_no_failure_of_a_version(crowded: Crowded) -> None:
    """The handler's 503 for old requests is among TorchServe's 5xx, and is taken out again."""
    begin = crowded.torchserve.answers()
    crowded.page = crowded.page.replace(" 7.0", " 19.0") + handled("iqa", "expired", 11)
    since = between(begin, crowded.torchserve.answers())
    assert since.failed == 1
