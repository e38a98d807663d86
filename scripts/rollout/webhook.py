"""
A listener for MLflow's webhooks: wakes the watch at once when an alias moves.

It only makes the watch faster: MLflow gives up on a webhook after three tries, so the poll is what
counts. Deliveries are still checked, because a sync costs time.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 64 * 1024
MAX_AGE_S: Final = 300.0
"""How far MLflow's clock may be from ours; older ones may be replays."""
REMEMBERED_IDS: Final = 1000


class Refused(ValueError):
    """A delivery that is not from our MLflow, or not now; carries the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Deliveries:
    """
    What makes a delivery genuine.

    Args:
        secret: The one that the webhook was made with.
        moved: {(registered model, alias): set when that alias moves}; no other moves count.
    """

    def __init__(self, secret: str, moved: Mapping[tuple[str, str], threading.Event]) -> None:
        self._secret = secret.encode()
        self._moved = moved
        self._seen: collections.deque[str] = collections.deque(maxlen=REMEMBERED_IDS)

    def take(self, headers: dict[str, str], body: bytes, now_s: float) -> bool:
        """
        Check a delivery, and set the event of the alias that moved.

        Args:
            headers: By their names in lower case.
            body: As it came.
            now_s: Seconds since 1970.

        Returns:
            Whether one of our aliases moved; False for another event, or one that came before.

        Raises:
            Refused: It is not signed with our secret, or too old.
        """
        identity = headers.get("x-mlflow-delivery-id", "")
        stamp = headers.get("x-mlflow-timestamp", "")
        signed = f"{identity}.{stamp}.".encode() + body
        digest = hmac.new(self._secret, signed, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        signature = headers.get("x-mlflow-signature", "")
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Refused(401, "signature: expected that of our secret, got another or none.")
        if not (stamp.isdigit() and abs(now_s - int(stamp)) <= MAX_AGE_S):
            raise Refused(400, f"timestamp: expected one within {MAX_AGE_S:g} s, got {stamp!r}.")
        if identity in self._seen:
            return False
        self._seen.append(identity)
        event: Any = json.loads(body)
        told = event.get("data", {})
        moved = self._moved.get((str(told.get("name")), str(told.get("alias"))))
        if event.get("entity") != "model_version_alias" or moved is None:
            return False
        logger.info("webhook: %s of %s moved", told["alias"], told["name"])
        moved.set()
        return True


@contextmanager
def listening(host: str, port: int, deliveries: Deliveries) -> Iterator[None]:
    """
    Listen in a thread of its own.

    Args:
        host: Interface; loopback unless MLflow is elsewhere.
        port: Free.
        deliveries: What is genuine, and what it sets.

    Raises:
        OSError: The port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # a sender that stalls holds one thread, and not for long

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 < length <= MAX_BYTES:
                    raise Refused(413, f"body: expected 1 to {MAX_BYTES} bytes, got {length}.")
                headers = {name.lower(): value for name, value in self.headers.items()}
                deliveries.take(headers, self.rfile.read(length), time.time())
                self._answer(204)
            except Refused as refused:
                logger.warning("webhook from %s refused: %s", self.client_address[0], refused)
                self._answer(refused.status)
            except ValueError:  # a length that is no number, a body that is no JSON
                self._answer(400)

        def _answer(self, status: int) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((host, port), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        logger.info("webhooks: listening on %s:%d", host, server.server_address[1])
        try:
            yield
        finally:
            server.shutdown()
