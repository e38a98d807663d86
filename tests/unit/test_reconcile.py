"""How the watch waits, what it repeats, and what it calls the end of a round."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import weakref
from collections.abc import Iterator

import pytest

from scripts.rollout.follow_alias import (
    LONGEST_PAUSE_S,
    OUTCOMES,
    Followed,
    SaidOnce,
    _round,
    follow,
    pause_s,
)
from scripts.rollout.follow_alias_process import _Present
from scripts.rollout.settings import Deployment, VersionFailed
from scripts.server.http_client import NotNow
from training.registry.availability import RegistryUnavailable


def test_failures_lengthen_the_pause_up_to_a_limit() -> None:
    """Each failure doubles it; the jitter keeps replicas apart; five minutes are the end."""
    pauses_s = [pause_s(15.0, failures, 0.5) for failures in (0, 1, 2, 3, 10_000)]
    assert pauses_s == pytest.approx([15.0, 30.0, 60.0, 120.0, LONGEST_PAUSE_S])
    assert pause_s(900.0, 3, 0.5) == pytest.approx(900.0)
    assert [pause_s(10.0, 0, chance) for chance in (0.0, 1.0)] == pytest.approx([8.0, 12.0])


def test_what_stays_the_same_is_said_once() -> None:
    """A line of the round before is dropped; after a round without it, it is news again."""
    said_once = SaidOnce()

    def says(message: str) -> bool:
        return said_once.filter(logging.makeLogRecord({"msg": message}))

    rounds = []
    for message in ("away", "away", "away", "back", "away"):
        said_once.next_round()
        rounds.append((says(message), says(message)))
    assert [first for first, _ in rounds] == [True, False, False, True, True]
    assert not any(second for _, second in rounds)


def test_a_thread_without_rounds_says_everything() -> None:
    """Webhooks are answered in threads of their own, whose numbers come again."""
    said_once = SaidOnce()
    record = logging.makeLogRecord({"msg": "webhook from 10.0.0.1 refused"})
    assert [said_once.filter(record) for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (VersionFailed("version 3: it does not load."), "refused"),
        (RegistryUnavailable("registry: expected an answer, got none."), "registry_away"),
        (NotNow("disk: expected 1 MB free, got none."), "not_now"),
        (OSError(28, "No space left on device"), "not_now"),
        (ZeroDivisionError("a fault of our own"), "crashed"),
    ],
)
def test_a_round_says_what_came_of_it(error: Exception, outcome: str) -> None:
    """Whatever is raised, the loop goes on, and the metrics know why."""

    def find() -> Deployment:
        raise error

    assert _round(find, retry=False) == outcome
    assert outcome in OUTCOMES


@pytest.fixture
def _signals_of_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class _Connection:
    """Something with a finalizer, as MLflow's pool of connections has one."""


@pytest.mark.usefixtures("_signals_of_before")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_finalizer_ends_the_watch(number: signal.Signals) -> None:
    """Python drops what a finalizer raises: the round goes on, and the watch ends after it."""
    rounds: list[str] = []

    def find() -> Deployment:
        connection = _Connection()
        weakref.finalize(connection, os.kill, os.getpid(), number)
        del connection
        raise NotNow("the round went on")

    model = Followed(name="iqa", find=find, moved=threading.Event(), round_ended=rounds.append)
    assert follow([model], 600.0, retry=False) == 0
    assert rounds == ["not_now"]


def test_a_fault_after_a_round_does_not_end_the_following(caplog: pytest.LogCaptureFixture) -> None:
    """A thread that ended would follow nothing, in a process that lives on: it is only said."""
    rounds: list[str] = []

    def find() -> Deployment:
        raise ValueError("--replica: expected letters, got 'server one'.")

    model = Followed(name="iqa", find=find, moved=threading.Event(), round_ended=rounds.append)
    with contextlib.ExitStack() as stack:
        _Present(model, stack).round_ended("crashed")
    assert rounds == ["crashed"]
    assert "got 'server one'" in caplog.text
