"""
Wait until a version is idle, and only then unload it.

TorchServe cannot drain: unloading a busy version answers 500 to the request in flight and nothing
to those queued. Its queue can be asked for, what a worker has in hand cannot; so a version counts
as idle when its queue was seen empty twice and the longest possible request has had its time since
new requests stopped coming.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from scripts.rollout import deployment_records
from scripts.rollout.settings import Deployment
from scripts.server import process_start
from scripts.server.client import TorchServe
from scripts.server.state import StateDir, replace_text

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
QUEUE_LIMIT_S: Final = 60.0
"""How long a queue may take to empty, beyond the longest request, before it is left alone."""
DRAINING_FILE: Final = "draining"
"""File that exists while this replica should get no new requests; it turns readiness off."""


class Watch:
    """
    Looks whether a version that gets no new requests has anything in hand.

    Args:
        server: Where it is loaded.
        version: Its number.
        since_s: Since when it gets none, on the monotonic clock; None if unknown: then from now on.
        longest_request_s: The server ends any request after this time.
    """

    def __init__(
        self, server: TorchServe, version: str, since_s: float | None, longest_request_s: float
    ) -> None:
        self._server, self._version = server, version
        self._longest_request_s = longest_request_s
        now_s = deployment_records.now_s()
        # The clock starts anew with the machine; a time ahead of it is from before.
        self._quiet_since_s = since_s if since_s is not None and since_s <= now_s else now_s
        self._answered = self._answers()
        self._seen_empty = 0

    def is_idle(self) -> bool:
        """Look once; two looks at least are needed."""
        found = self._server.find(self._version)
        if found is None:
            return True
        answered, now_s = self._answers(), deployment_records.now_s()
        if answered != self._answered:  # somebody asks for it by its number
            self._answered, self._quiet_since_s = answered, now_s
        self._seen_empty = self._seen_empty + 1 if found.queue == 0 else 0
        return self._seen_empty >= 2 and now_s - self._quiet_since_s >= self._longest_request_s

    def wait(self, stop: threading.Event | None = None) -> bool:
        """
        Wait until it is idle.

        Returns:
            False if its queue does not get empty, for somebody still sends it requests by its
            number, or if `stop` was set.
        """
        deadline_s = deployment_records.now_s() + self._longest_request_s + QUEUE_LIMIT_S
        pause = threading.Event() if stop is None else stop
        while deployment_records.now_s() < deadline_s:
            if self.is_idle():
                return True
            if pause.wait(POLL_S):
                return False
        return False

    def _answers(self) -> int:
        return self._server.answers().by_path.get(self._version, 0)


def unload_idle(
    plan: Deployment,
    version: str,
    longest_request_s: float,
    *,
    even_if_held: bool = False,
    exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
    stop: threading.Event | None = None,
) -> bool:
    """
    Drain a version and unload it, unless it is the default or kept; say what was done.

    Args:
        plan: Where it is loaded.
        version: One that gets no new requests.
        longest_request_s: The server ends any request after this time.
        even_if_held: Also if a rollback is under way to it: for who loads it anew for that.
        exclusive: Entered for the unloading, and not for the wait before it.
        stop: Set where waiting is to end.

    Returns:
        Whether it is unloaded.
    """
    server = plan.server
    since_s = plan.records.read().retired_at_s.get(version)
    watch = Watch(server, version, since_s, longest_request_s)
    while watch.wait(stop):
        with exclusive(), plan.records.changing() as record:
            default = server.default()
            is_held = record.hold is not None and record.hold.version == version
            # A rollback may have come to it meanwhile; the last version would take the model along.
            if (is_held and not even_if_held) or default is None or default.version == version:
                return False
            if record.retired_at_s.get(version) != since_s:
                return False  # it is kept now, or served again meanwhile and its time counts anew
            if not watch.is_idle():
                continue
            server.unload(version)
            record.retired_at_s.pop(version, None)
        logger.info("version %s: drained and unloaded", version)
        return True
    if stop is None or not stop.is_set():
        logger.warning(
            "version %s is still sent requests by its number; it stays loaded. Stop them, then: "
            "python -m scripts.deploy drain --model-name %s --version %s",
            version,
            plan.model_name,
            version,
        )
    return False


def drain_all(models: Sequence[TorchServe], state: StateDir, longest_request_s: float) -> bool:
    """
    Mark this replica as draining and wait until it has nothing in hand.

    Whoever sends it requests has to stop: TorchServe itself takes them to the end.

    Args:
        models: All that the server has.
        state: The server's folder.
        longest_request_s: The server ends any request after this time.

    Returns:
        Whether it became idle.
    """
    mark(state)
    begin_s = quiet_since_s = time.monotonic()
    answered = [model.answers().total for model in models]
    while time.monotonic() < begin_s + longest_request_s + QUEUE_LIMIT_S:
        counts = [model.answers().total for model in models]
        waiting = sum(found.queue for model in models for found in model.loaded().values())
        if counts != answered or waiting:
            answered, quiet_since_s = counts, time.monotonic()
        if time.monotonic() - quiet_since_s >= longest_request_s:
            return True
        time.sleep(POLL_S)
    return False


def mark(state: StateDir) -> None:
    """Begin a drain: not ready from now on, until the mark is taken away or a server starts."""
    state.path.mkdir(parents=True, exist_ok=True)
    text = f"{process_start.boot_id()} {process_start.now_s()}\n"
    replace_text(state.path / DRAINING_FILE, text)


def end(state: StateDir) -> None:
    """End a drain: the server may get requests again."""
    (state.path / DRAINING_FILE).unlink(missing_ok=True)


def is_draining(state: StateDir, started_at_s: float | None = None) -> bool:
    """
    Tell whether a drain is on.

    Args:
        state: The server's folder.
        started_at_s: When the server started, as `process_start` counts; an earlier drain is over.
    """
    try:
        text = (state.path / DRAINING_FILE).read_text()
        boot_id, marked_at_s = text.rstrip("\n").split(" ")
        is_later = started_at_s is None or float(marked_at_s) > started_at_s
    except FileNotFoundError:
        return False
    except ValueError:
        return True  # made by hand: it was meant
    return is_later and boot_id == process_start.boot_id()
