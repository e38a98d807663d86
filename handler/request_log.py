"""One JSON line for a request: for each one at INFO, else only for those that failed."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from telemetry import Item

LOG_LEVEL: Final = "IQA_LOG_LEVEL"
SAFE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ID_HEADERS: Final = ("X-Request-ID", "X-Request-Id", "x-request-id")
"""As nginx passes it on, as some clients write it, as HTTP/2 does; TorchServe keeps the case."""


class RequestLog:
    """
    Writes to the worker's stdout, which TorchServe's log takes as it is (torchserve/log4j2.xml).

    Args:
        version: The model's version.

    Raises:
        ValueError: IQA_LOG_LEVEL is neither INFO nor WARNING.
    """

    def __init__(self, version: str) -> None:
        level = os.environ.get(LOG_LEVEL) or "WARNING"
        if level not in ("INFO", "WARNING"):
            raise ValueError(f"{LOG_LEVEL}: expected INFO or WARNING, got {level!r}.")
        self._version = version
        self._has_all = level == "INFO"
        self._logger = logging.getLogger("iqa.requests")
        self._logger.setLevel(level)

    def write(self, items: Iterable[Item], elapsed_s: float, context: Any) -> None:
        """Write what this level asks for; TorchServe's own id is in it where a client's is used."""
        for item in items:
            if item.outcome is None or not (self._has_all or item.error):
                continue
            headers = context.get_all_request_header(item.index)
            own_id, now_s = request_id(context, item.index), time.time()
            server_id = context.get_request_id(item.index)
            level = logging.ERROR if item.error else logging.INFO
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
            line = {
                "time": f"{stamp}.{int(now_s % 1 * 1000):03d}Z",
                "level": logging.getLevelName(level),
                "logger": self._logger.name,
                "request_id": own_id,
                "server_id": None if server_id == own_id else server_id,
                "traceparent": (header_in(headers, "traceparent") or "")[:64] or None,
                "status": item.status,
                "outcome": item.outcome,
                "reason": item.reason,
                "score": item.reply.get("score"),
                "version": self._version,
                "ms": _ms(
                    queue=item.waited_s,
                    decode=item.decode_s,
                    network=item.network_s,
                    whole=elapsed_s + (item.waited_s or 0.0),
                ),
                "bytes": item.n_bytes,
                "megapixels": item.megapixels,
                "traceback": item.error,
            }
            told = {key: value for key, value in line.items() if value is not None}
            self._logger.log(level, "%s", json.dumps(told))


def request_id(context: Any, index: int) -> str:
    """
    Return the id under which a request is known: the client's or the front's, else TorchServe's.

    One that could be anything else than an id is not repeated.
    """
    return id_in(context.get_all_request_header(index), context.get_request_id(index))


def id_in(headers: Mapping[str, Any], server_id: str) -> str:
    """Return the id that a request's headers say, else TorchServe's."""
    for name in ID_HEADERS:
        told = header_in(headers, name)
        if told and SAFE_ID.fullmatch(told):
            return told
    return str(server_id)


def header_in(headers: Mapping[str, Any], *names: str) -> str | None:
    """
    Return the first of these headers that a request has; None where it has none.

    TorchServe puts a dictionary under the name of each field of a form between them.
    """
    for name in names:  # no generator: it would be a dozen calls more for each request
        value = headers.get(name)
        if value and isinstance(value, str):
            return value
    return None


def _ms(**stages_s: float | None) -> dict[str, float]:
    return {name: round(1000 * s, 3) for name, s in stages_s.items() if s is not None}
