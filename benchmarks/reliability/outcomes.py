"""
What became of each request, and the arithmetic on it: counts, calm and stir, time to recover.

    scored      200
    refused     503 that says so: overloaded, expired, draining; or a full queue, in TorchServe's
                own words. The client may ask again, and nothing was begun
    failed      any other answer
    lost        no answer, though a connection was there
    unaccepted  nobody took the connection: another replica would be asked
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.load import Latency, latency_of
from benchmarks.open_loop import NO_REPLY, OK, REFUSED, Sending

Record = dict[str, Any]
Span = tuple[float, float]
"""From, until; seconds from the start of the load."""

OUTCOMES: Final = ("scored", "refused", "failed", "lost", "unaccepted")
WINDOW_S: Final = 0.25
VERSION: Final = re.compile(rb'"version": ?"(\w+)"')
FULL_QUEUE: Final = "has no worker to serve"  # RestJob of TorchServe 0.12, for a full queue


def outcome_of(sending: Sending) -> str:
    """Return one of `OUTCOMES`."""
    if sending.status == OK:
        return "scored"
    if sending.status == NO_REPLY:
        # One that broke and was sent again may have been in somebody's hands.
        return "unaccepted" if sending.is_unaccepted and not sending.is_repeated else "lost"
    return "refused" if sending.status == REFUSED and _is_clean(sending.reply) else "failed"


def _is_clean(reply: bytes) -> bool:
    """Tell whether a 503 says that the request was not begun, and why."""
    try:
        document = json.loads(reply)
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    return bool(document.get("reason")) or FULL_QUEUE in str(document.get("message"))


def version_of(sending: Sending) -> str | None:
    """Return the version that scored a request; None where none did."""
    found = VERSION.search(sending.reply) if sending.status == OK else None
    return found[1].decode() if found else None


def reason_of(sending: Sending) -> str:
    """Return, for one that was not scored, status and reason, or the message's beginning."""
    if sending.status == NO_REPLY:
        return outcome_of(sending)
    try:
        document = json.loads(sending.reply)
        words = document.get("reason") or document.get("message")
    except (ValueError, AttributeError):
        words = sending.reply.decode(errors="replace")
    return f"{sending.status} {' '.join(str(words).split())[:60]}"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """
    Requests by what became of them.

    Attributes:
        sent: All.
        scored: See the module.
        refused: See the module.
        failed: See the module.
        lost: See the module.
        unaccepted: See the module.
        repeated: How many were sent again because a kept connection broke without a word.
    """

    sent: int
    scored: int
    refused: int
    failed: int
    lost: int
    unaccepted: int
    repeated: int


def tally(sendings: Sequence[Sending]) -> Tally:
    """Count requests by outcome."""
    counts = Counter(map(outcome_of, sendings))
    return Tally(
        sent=len(sendings),
        scored=counts["scored"],
        refused=counts["refused"],
        failed=counts["failed"],
        lost=counts["lost"],
        unaccepted=counts["unaccepted"],
        repeated=sum(one.is_repeated for one in sendings),
    )


def reasons(sendings: Iterable[Sending]) -> dict[str, int]:
    """Count what was not scored by `reason_of`, the most frequent first."""
    found = Counter(reason_of(one) for one in sendings if one.status != OK)
    return dict(found.most_common())


def latency(sendings: Iterable[Sending]) -> Latency:
    """Summarise the latency of what was scored, from when it was due."""
    return latency_of([one.done_s - one.due_s for one in sendings if one.status == OK])


def due_in(sendings: Iterable[Sending], spans: Sequence[Span]) -> list[Sending]:
    """Return the requests that were due in one of some spans."""
    return [one for one in sendings if any(begin <= one.due_s < end for begin, end in spans)]


def due_outside(
    sendings: Iterable[Sending], spans: Sequence[Span], margin_s: float
) -> list[Sending]:
    """
    Return the requests that were due in no span, nor soon after one.

    Args:
        sendings: The requests of a load.
        spans: The spans to leave out.
        margin_s: How long after a span still belongs to it: its queue may have to empty.
    """
    wider = [(begin, end + margin_s) for begin, end in spans]
    return [one for one in sendings if not any(begin <= one.due_s < end for begin, end in wider)]


def windows(sendings: Iterable[Sending], span: Span, width_s: float = WINDOW_S) -> list[Record]:
    """
    Return outcomes and median latency of each stretch of due times.

    Args:
        sendings: The requests of a load.
        span: Divided into stretches; `at_s` of each counts from its begin.
        width_s: Width of a stretch.
    """
    begin_s, end_s = span
    stretches: list[list[Sending]] = [[] for _ in range(round((end_s - begin_s) / width_s))]
    for one in sendings:
        place = int((one.due_s - begin_s) // width_s)
        if 0 <= place < len(stretches):
            stretches[place].append(one)
    found = []
    for i, own in enumerate(stretches):
        counts = Counter(map(outcome_of, own))
        own_latency = latency(own)
        found.append(
            {
                "at_s": i * width_s,
                **{name: counts[name] for name in OUTCOMES},
                "p50_ms": own_latency.p50_ms,
                "p99_ms": own_latency.p99_ms,
            }
        )
    return found


def back_s(found: Sequence[Record], slow_ms: float, width_s: float = WINDOW_S) -> float:
    """
    Return after how many seconds everything was as before.

    Args:
        found: As of `windows`, from the moment of the fault on.
        slow_ms: A median latency above this is not as before.
        width_s: Width of a window.

    Returns:
        The end of the last window in which a request was not scored, or was slow at the median;
        0 if there is none.
    """
    disturbed = [
        window["at_s"] + width_s
        for window in found
        if any(window[name] for name in OUTCOMES[1:]) or window["p50_ms"] > slow_ms
    ]
    return max(disturbed, default=0.0)


def first_scored_s(sendings: Iterable[Sending], version: str, since_s: float) -> float | None:
    """Return when the first answer of a version was complete, of those due since a moment."""
    times = [one.done_s for one in sendings if one.due_s >= since_s and version_of(one) == version]
    return min(times, default=None)
