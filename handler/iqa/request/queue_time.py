"""
How long a request has waited, by the header X-Request-Start that a proxy in front sets.

TorchServe limits no request's age in its queue. It would answer clients that have given up, and
under overload the oldest first; so the worker checks the age.
"""

from __future__ import annotations

import time
from typing import Final

START_HEADERS: Final = ("X-Request-Start", "x-request-start")
"""As nginx passes it on, and as HTTP/2 and some clients write it; TorchServe keeps the spelling."""
IMPLAUSIBLE_S: Final = 3600.0
"""A longer wait means another unit in the header, or a clock that was set: it is ignored."""
CLOCK_ERROR_S: Final = 0.1
"""A start up to this far in the future counts as no wait: clocks drift, headers are rounded."""


class Clock:
    """
    A clock for ages that errs on the side of serving when the system's clock is set.

    It goes by the system's clock, or by one that nobody can set and that agreed with it when this
    was made, whichever is behind. A step of the clock of either side then switches the limit off,
    at worst until the worker restarts, and never lets it refuse everything.
    """

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Return seconds since 1970."""
        return min(time.time(), time.monotonic() + self._offset_s)


def waited_s(started: str, now_s: float) -> float | None:
    """
    Return how long ago a request came in.

    Args:
        started: The header: seconds since 1970 with a fraction, perhaps after `t=`.
        now_s: By `Clock`.

    Returns:
        Seconds; None where the header says nothing: no number, the future, or longer ago than
        anything can wait.
    """
    try:
        age_s = now_s - float(started.removeprefix("t="))
    except ValueError:
        return None
    if not -CLOCK_ERROR_S <= age_s < IMPLAUSIBLE_S:  # not so for NaN either
        return None
    return max(age_s, 0.0)
