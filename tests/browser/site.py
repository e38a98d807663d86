"""
One address at which everything is: the page, and the server behind it.

It stands in for the gateway: what it forwards goes to a real server's front.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

import requests
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.ports import LOOPBACK
from web.page import mount_page

SENT_ON = ("content-type", "accept")
TAKEN_BACK = ("content-type", "retry-after", "x-request-id")
TIMEOUT_S = 90.0


def site(front: str, health: str, models: Sequence[str] = ("iqa",)) -> Starlette:
    """
    Return the page with a server's paths beside it.

    Args:
        front: Address of a server's front, without a path.
        health: Address of its supervisor.
        models: As the page offers them.
    """

    async def forward(request: Request) -> Response:
        headers = {name: request.headers[name] for name in SENT_ON if name in request.headers}
        reply = await run_in_threadpool(
            requests.post,
            front + request.url.path,
            data=await request.body(),
            headers=headers,
            timeout=TIMEOUT_S,
        )
        kept = {name: reply.headers[name] for name in TAKEN_BACK if name in reply.headers}
        return Response(reply.content, reply.status_code, kept)

    def is_healthy(request: Request) -> Response:
        reply = requests.get(f"{health}/ready", timeout=TIMEOUT_S)
        version = reply.json().get("version")
        return JSONResponse({"model_name": "iqa", "model_version": version}, reply.status_code)

    app = Starlette()
    mount_page(app, models)
    app.router.routes.extend(
        (
            Route("/predictions/{model}", forward, methods=["POST"]),
            Route("/explanations/{model}", forward, methods=["POST"]),
            Route("/health", is_healthy),
        )
    )
    return app


@contextlib.contextmanager
def serving(app: Starlette, port: int) -> Iterator[str]:
    """Serve an application from a thread; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    assert server.started, f"nothing listens on port {port}"
    try:
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        thread.join()
