"""
Wait until a version is idle, and only then unload it.

TorchServe cannot drain: unloading a busy version answers 500 to the request in flight and nothing
to those queued. Its queue can be asked for, what a worker has in hand cannot; so a version counts
as idle when its queue was seen empty twice and the longest possible request has had its time since
new requests stopped coming.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from scripts.rollout import records
from scripts.rollout.terms import Deployment
from scripts.server import process_start
from scripts.server.client import TorchServe
from scripts.server.state import StateDir, replace_text

logger = logging.getLogger(__name__)

POLL_S: Final = 0.2
QUEUE_LIMIT_S: Final = 60.0
"""How long a queue may take to empty, beyond the longest request, before it is left alone."""
DRAINING_FILE: Final = "draining"
"""There while this replica should get no new requests; readiness is off as long."""


def wait_until_idle(
    server: TorchServe, version: str, since_s: float | None, longest_request_s: float
) -> bool:
    """
    Wait until a version has nothing in hand.

    Args:
        server: Where it is loaded.
        version: One that gets no new requests.
        since_s: Since when, on the monotonic clock; None if unknown: then from now on.
        longest_request_s: The server ends any request after this time.

    Returns:
        False if its queue does not get empty: somebody still sends it requests by its number.
    """
    now_s = records.now_s()
    # The clock starts anew with the machine; a time ahead of it is from before.
    quiet_since_s = since_s if since_s is not None and since_s <= now_s else now_s
    answered = server.answers().by_path.get(version, 0)
    seen_empty = 0
    while records.now_s() < now_s + longest_request_s + QUEUE_LIMIT_S:
        found = server.find(version)
        if found is None:
            return True
        count = server.answers().by_path.get(version, 0)
        if count != answered:  # somebody asks for it by its number
            answered, quiet_since_s = count, records.now_s()
        seen_empty = seen_empty + 1 if found.queue == 0 else 0
        if seen_empty >= 2 and records.now_s() - quiet_since_s >= longest_request_s:
            return True
        time.sleep(POLL_S)
    return False


def unload_idle(plan: Deployment, version: str, longest_request_s: float) -> bool:
    """
    Drain a version and unload it, unless it is the default or kept; say what was done.

    Returns:
        Whether it is unloaded.
    """
    server = plan.server
    since_s = plan.records.read().retired_at_s.get(version)
    if not wait_until_idle(server, version, since_s, longest_request_s):
        logger.warning(
            "version %s is still sent requests by its number; it stays loaded. Stop them, then: "
            "python -m scripts.deploy drain --version %s",
            version,
            version,
        )
        return False
    with plan.records.changing() as record:
        default = server.default()
        is_held = record.hold is not None and record.hold.version == version
        # A rollback may have come to it meanwhile; the last version would take the model along.
        if is_held or default is None or default.version == version:
            return False
        server.unload(version)
        record.retired_at_s.pop(version, None)
    logger.info("version %s: drained and unloaded", version)
    return True


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
        started_at_s: Of the server, as `process_start` counts; a drain from before it is over.
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
