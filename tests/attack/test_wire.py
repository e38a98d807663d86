"""Requests made by hand, and every other route: nothing gets further than it should."""

from __future__ import annotations

import json
import socket

import pytest

from tests.attack.pieces import SMALL_JPEG
from tests.attack.wire import (
    GOOD,
    KEEP,
    NONE,
    PATH,
    RAW,
    ROUTES,
    SMUGGLED,
    TIMEOUT_S,
    asked,
    head,
    sent,
)
from tests.server import RunningServer


def _port(door: RunningServer) -> int:
    return int(door.environment["INFERENCE_PORT"])


@pytest.mark.parametrize("name", RAW)
def test_a_request_made_by_hand_is_answered_or_dropped(
    server: RunningServer, unharmed: RunningServer, name: str
) -> None:
    """Only the statuses of the table, no 5xx among them, and the next request is answered."""
    allowed = RAW[name].bare if unharmed is server else RAW[name].front
    # Where silence is an answer, nobody needs to listen to it for long.
    timeout_s = 5.0 if NONE in allowed else TIMEOUT_S
    statuses, answer = sent(_port(unharmed), RAW[name].request, timeout_s=timeout_s)
    assert tuple(statuses) in allowed, answer[:500]
    assert sent(_port(unharmed), GOOD)[0] == [200]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value[:40])
def test_the_front_lets_no_other_route_through(
    fronted: RunningServer, method: str, path: str
) -> None:
    """404, 405 or 400 in our own form; a browser's page, a list of models, or a file: never."""
    status, answer = asked(_port(fronted), method, path)
    if (method, path) in GATEWAY_SAYS:  # of TorchServe's routes by the same name it says nothing
        assert status == GATEWAY_SAYS[method, path], answer[:300]
        return
    assert status in (400, 404, 405), answer[:300]
    document = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert document["code"] == status
    assert {"code", "type", "message", "reason"} == set(document)
    assert ": expected " in document["message"]


def test_torchserve_alone_manages_nothing_on_its_inference_port(server: RunningServer) -> None:
    """Its own routes answer there with what they are; none of them loads, scales or deletes."""
    before = server.manage()
    answers = {(method, path): asked(_port(server), method, path) for method, path in ROUTES}
    for route, (status, answer) in answers.items():
        assert status in TORCHSERVE_SAYS.get(route, (400, 404, 405)), (route, answer[:300])
        assert b"root:" not in answer, route
    assert server.manage() == before


# What the gateway has under such a name: the page, and the Open Inference Protocol's paths.
GATEWAY_SAYS = {
    ("GET", "/"): 200,
    ("GET", "/v2/health/ready"): 200,
    ("POST", "/v2/models/iqa/infer"): 400,  # without a body
    ("GET", "/v2/models/iqa"): 200,
}
# What TorchServe answers itself, in a form of its own; with the front it is all 404 or 405.
TORCHSERVE_SAYS = {
    ("OPTIONS", "/"): (200,),  # the description of its API
    ("OPTIONS", PATH): (200,),
    ("GET", "/api-description"): (200,),
}


def test_a_request_is_not_smuggled_past_the_front(fronted: RunningServer) -> None:
    """A second request hidden in the body of a first is never run: the model stays."""
    before = fronted.manage()[0]["modelVersion"]
    for lines in (
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Content-Length: 4"),
        ("Transfer-Encoding : chunked", "Content-Length: 4"),
    ):
        statuses, answer = sent(_port(fronted), head(*lines) + b"0\r\n\r\n" + SMUGGLED + KEEP)
        assert statuses and statuses[0] == 400, (lines, answer[:300])
    assert fronted.manage()[0]["modelVersion"] == before


def test_a_body_that_never_comes_hurts_nobody(unharmed: RunningServer) -> None:
    """Cut connections, in the head, in the body and before the answer, leave nothing behind."""
    port = _port(unharmed)
    for piece in (GOOD[:20], GOOD[:-100], head(f"Content-Length: {len(SMALL_JPEG)}"), GOOD):
        for how in ("close", "reset"):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                if how == "reset":
                    linger = (1).to_bytes(4, "little") + bytes(4)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(piece)
    assert sent(port, GOOD)[0] == [200]
