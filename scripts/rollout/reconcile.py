"""
Keep the served version equal to the alias: `python -m scripts.deploy sync --watch`.

It polls every few seconds, so a lost webhook loses nothing; a webhook only wakes it earlier. It
logs changes only.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable
from typing import Final, Literal, get_args

from scripts.rollout import tidy
from scripts.rollout.sync import sync
from scripts.rollout.terms import Deployment, VersionFailed
from scripts.server.client import NotNow
from training.registry.model_versions import RegistryUnavailable

logger = logging.getLogger(__name__)

Outcome = Literal["served", "refused", "registry_away", "not_now", "crashed"]
"""How a round ends: what is wanted is served; the version is refused; MLflow does not answer; the
circumstances do not allow it; a fault of our own."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
LONGEST_PAUSE_S: Final = 300.0
JITTER: Final = 0.2
"""Replicas that were started together should not ask together."""


class SaidOnce(logging.Filter):
    """Lets a message through when the round before this one did not say the same."""

    def __init__(self) -> None:
        super().__init__()
        self._before: set[str] = set()
        self._now: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what was said in this round or the last one."""
        message = record.getMessage()
        is_new = message not in self._before and message not in self._now
        self._now.add(message)
        return is_new

    def next_round(self) -> None:
        """Begin a round: forget what the last one did not repeat."""
        self._before, self._now = self._now, set()


def pause_s(poll_s: float, failures: int, chance: float) -> float:
    """
    Return how long to wait for the next round.

    Args:
        poll_s: Pause between rounds that succeed.
        failures: Rounds in a row that failed; each doubles the pause.
        chance: In [0, 1], for the jitter.
    """
    backed_off = min(poll_s * 2.0 ** min(failures, 20), max(LONGEST_PAUSE_S, poll_s))
    return backed_off * (1 - JITTER + 2 * JITTER * chance)


def follow(
    find: Callable[[], Deployment],
    poll_s: float,
    moved: threading.Event,
    *,
    retry: bool,
    round_ended: Callable[[Outcome], None] | None = None,
) -> int:
    """
    Sync again and again, until TERM or Ctrl-C.

    Args:
        find: Tells what is deployed where, anew for each round.
        poll_s: Pause between two looks, in seconds.
        moved: Set by a webhook, to look at once.
        retry: Try a quarantined version once more, in the first round.
        round_ended: Called after each round.

    Returns:
        0, after TERM or Ctrl-C.
    """
    said_once = SaidOnce()
    for handler in logging.getLogger().handlers:
        handler.addFilter(said_once)
    signal.signal(signal.SIGTERM, _interrupt)
    logger.info("following the alias, every %g s", poll_s)
    failures = 0
    try:
        while True:
            said_once.next_round()
            outcome = _round(find, retry=retry)
            if round_ended is not None:
                round_ended(outcome)
            if outcome in ("served", "refused"):
                _tidy(find, moved)
            # A quarantined version costs one question a round and is not tried, and MLflow's return
            # should be seen soon: no back-off for these.
            failures = failures + 1 if outcome in ("not_now", "crashed") else 0
            retry = False
            if moved.wait(pause_s(poll_s, failures, random.random())):
                failures = 0
            moved.clear()
    except KeyboardInterrupt:
        logger.info("no longer following; what is served stays")
        return 0


def _round(find: Callable[[], Deployment], *, retry: bool) -> Outcome:
    """Sync once and say what came of it."""
    try:
        logger.info("%s", sync(find(), retry=retry))
    except VersionFailed as error:
        logger.error("%s", error)
        return "refused"
    except RegistryUnavailable as error:
        logger.warning("%s What is served stays.", error)
        return "registry_away"
    except (NotNow, OSError) as error:
        logger.warning("not now: %s", error)
        return "not_now"
    except Exception:  # a side-car that ends follows nothing; the traceback is the report
        logger.exception("this round failed")
        return "crashed"
    return "served"


def _tidy(find: Callable[[], Deployment], moved: threading.Event) -> None:
    """Do what the round has left to be done, until the alias moves again."""
    try:
        plan = find()
        if tidy.due(plan):
            tidy.tidy(plan, moved)
    except (NotNow, OSError) as error:  # a TimeoutError too: another process is at it
        logger.info("left to a later round: %s", error)
    except Exception:
        logger.exception("tidying failed")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
