"""
The supervisor's own port: GET /live, /ready and /metrics, answered from memory.

    /ready    200 if requests may come, else 503; the reason is in the body
    /live     200 while TorchServe answers or is being restarted within limits, else 503
    /metrics  the processes' CPU, memory and restarts, for Prometheus

Probes must not wait behind the load, so nothing here asks TorchServe.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a path."""

    status: int
    body: bytes
    content_type: str = "application/json"


def in_json(status: int, document: Mapping[str, Any]) -> Answer:
    """Return an answer with a JSON document."""
    return Answer(status=status, body=json.dumps(document).encode() + b"\n")


@contextmanager
def listening(host: str, port: int, pages: Mapping[str, Callable[[], Answer]]) -> Iterator[None]:
    """
    Answer in threads of their own.

    Args:
        host: Interface.
        port: Free; 0: do nothing.
        pages: Path -> what answers it.

    Raises:
        OSError: The port is taken.
    """
    if port == 0:
        yield
        return

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # a client that stalls holds one thread, and not for long

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            page = pages.get(path)
            if page is None:
                known = ", ".join(pages)
                self.send_error(404, f"path: expected one of {known}, got {path}.")
                return
            try:
                answer = page()
            except Exception as error:
                logger.exception("%s failed", path)
                self.send_error(500, f"{path}: {error}")
                return
            self._send(answer)

        do_HEAD = do_GET  # noqa: N815, the base class's name

        def send_error(
            self, code: int, message: str | None = None, explain: str | None = None
        ) -> None:
            """Answer with an error in the shape of the inference API's; for the base class too."""
            # The base class answers 501 where a method is unknown.
            status = HTTPStatus.METHOD_NOT_ALLOWED if code == 501 else HTTPStatus(code)
            document = {
                "code": int(status),
                "type": "RequestRefused",
                "message": message or status.description,
                "reason": status.name.lower(),
            }
            self.close_connection = True
            self._send(in_json(int(status), document))

        def _send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class HealthServer(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a probe that hangs up is no news

    with HealthServer((host, port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
