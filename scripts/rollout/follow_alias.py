"""
Keep the served version equal to the alias: `python -m scripts.deploy sync --watch`.

It polls every few seconds, so a lost webhook loses nothing; a webhook only wakes it earlier. It
logs changes only. Several models have a thread each: a build or a load of one does not keep the
others waiting.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from console.command_line import Interruption
from scripts.rollout import cleanup
from scripts.rollout.rolling_order import HeldBack
from scripts.rollout.settings import Deployment, VersionFailed
from scripts.rollout.sync import sync
from scripts.server.http_client import NotNow
from training.registry.availability import RegistryUnavailable

logger = logging.getLogger(__name__)

Outcome = Literal["served", "refused", "held", "registry_away", "not_now", "crashed"]
"""How a round ends: what is wanted is served; the version is refused; another server of the fleet
refused it or is away; MLflow does not answer; the circumstances do not allow it; a fault of our
own."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
LONGEST_PAUSE_S: Final = 300.0
END_S: Final = 20.0
"""What the syncs of several models get at the end: most are done by then."""
JITTER: Final = 0.2
"""Replicas that were started together should not ask together."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """
    One model whose alias is followed.

    Attributes:
        name: Of the model.
        find: Tells what is deployed where, anew for each round.
        moved: Set by a webhook, to look at once.
        round_ended: Called after each round.
    """

    name: str
    find: Callable[[], Deployment]
    moved: threading.Event
    round_ended: Callable[[Outcome], None]


class SaidOnce(logging.Filter):
    """
    Lets a message through when the round before this one, of the same thread, did not say it.

    A thread without rounds, such as one that answers a webhook, says everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[int, tuple[set[str], set[str]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what was said in this round or the last one."""
        if threading.get_ident() not in self._said:
            return True
        before, now = self._said[threading.get_ident()]
        message = record.getMessage()
        is_new = message not in before and message not in now
        now.add(message)
        return is_new

    def next_round(self) -> None:
        """Begin a round: forget what the last one did not repeat."""
        thread = threading.get_ident()
        _, now = self._said.get(thread, (set(), set()))
        self._said[thread] = now, set()


class _ByModel(logging.Formatter):
    """Puts the model's name, which is the thread's, before what is said of it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        is_main = record.thread == threading.main_thread().ident
        return text if is_main else f"{record.threadName}: {text}"


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


def follow(models: Sequence[Followed], poll_s: float, *, retry: bool) -> int:
    """
    Sync again and again, until TERM or Ctrl-C.

    Args:
        models: Each with its own rounds, pauses and failures.
        poll_s: Pause between two looks, in seconds.
        retry: Try quarantined versions once more, in the first round.

    Returns:
        0, after TERM or Ctrl-C.
    """
    said_once = SaidOnce()
    for handler in logging.getLogger().handlers:
        handler.addFilter(said_once)
        if len(models) > 1:
            handler.setFormatter(_ByModel())
    interruption = Interruption(signal.SIGTERM, signal.SIGINT)
    names = ", ".join(model.name for model in models)
    logger.info("following the alias of %s, every %g s", names, poll_s)
    # In the main thread a signal interrupts it anywhere.
    try:
        if len(models) == 1:
            _follow(models[0], poll_s, said_once, lambda: interruption.is_requested, retry=retry)
        else:
            _follow_all(models, poll_s, said_once, retry=retry)
    except KeyboardInterrupt:
        pass
    finally:
        for handler in logging.getLogger().handlers:
            handler.removeFilter(said_once)
    logger.info("no longer following; what is served stays")
    return 0


def _follow_all(
    models: Sequence[Followed],
    poll_s: float,
    said_once: SaidOnce,
    *,
    retry: bool,
) -> None:
    """Follow each model in a thread of its own; a signal lets those that sync come to their end."""
    ending = threading.Event()
    threads = [
        threading.Thread(
            target=_follow, args=(model, poll_s, said_once, ending.is_set),
            kwargs={"retry": retry}, name=model.name, daemon=True,
        )
        for model in models
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        threading.Event().wait()
    finally:
        ending.set()
        for model in models:
            model.moved.set()
        deadline = time.monotonic() + END_S
        for thread in threads:  # the next watch finishes what has to be left
            thread.join(max(0.0, deadline - time.monotonic()))


def _follow(
    model: Followed,
    poll_s: float,
    said_once: SaidOnce,
    is_ending: Callable[[], bool],
    *,
    retry: bool,
) -> None:
    failures = 0
    while not is_ending():
        said_once.next_round()
        outcome = _round(model.find, retry=retry)
        model.round_ended(outcome)
        if outcome in ("served", "refused", "held"):
            _tidy(model.find, model.moved)
        # A quarantined version costs one question a round and is not tried, and MLflow's return
        # should be seen soon: no back-off for these.
        failures = failures + 1 if outcome in ("not_now", "crashed") else 0
        retry = False
        if is_ending():
            return
        if model.moved.wait(pause_s(poll_s, failures, random.random())):
            failures = 0
        model.moved.clear()


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
    except HeldBack as error:
        logger.error("%s What is served stays.", error)
        return "held"
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
        if cleanup.due(plan):
            cleanup.tidy(plan, moved)
    except (NotNow, OSError) as error:  # a TimeoutError too: another process is at it
        logger.info("left to a later round: %s", error)
    except Exception:
        logger.exception("tidying failed")
