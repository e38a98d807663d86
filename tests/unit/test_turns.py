"""Who is to be alone is, and gets its turn however many others come."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tests.turns import Turns, turn


def _beside(run: str, log: str, ends: Event) -> None:
    while not ends.is_set():
        with turn(run, alone=False), Path(log).open("a") as file:
            file.write("begin\n")
            file.flush()
            time.sleep(0.05)
            file.write("end\n")


def test_one_is_alone_between_many(tmp_path: Path) -> None:
    """Two processes take turn after turn; the one that is alone sees nobody begin."""
    run, log = uuid.uuid4().hex, tmp_path / "log"
    log.touch()
    context = multiprocessing.get_context("fork")
    ends = context.Event()
    others = [context.Process(target=_beside, args=(run, str(log), ends)) for _ in range(2)]
    for other in others:
        other.start()
    try:
        while "begin" not in log.read_text():
            time.sleep(0.01)
        begin_s = time.monotonic()
        with turn(run, alone=True):
            assert time.monotonic() - begin_s < 5
            before = log.read_text().split()
            assert before.count("begin") == before.count("end")
            time.sleep(0.3)
            assert log.read_text().split() == before
        deadline_s = time.monotonic() + 5
        while len(log.read_text().split()) == len(before) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert len(log.read_text().split()) > len(before)
    finally:
        ends.set()
        for other in others:
            other.join()


def _alone_and_beside(run: str, log: str, begun: Event) -> None:
    begun.set()
    with turn(run, alone=False):
        Path(log).write_text("beside")


def test_tests_in_a_row_that_are_alone_hand_their_turn_on(tmp_path: Path) -> None:
    """Who waits beside gets in after the last of them, and not between."""
    run, log = uuid.uuid4().hex, tmp_path / "log"
    context = multiprocessing.get_context("fork")
    begun, turns = context.Event(), Turns(run)
    other = context.Process(target=_alone_and_beside, args=(run, str(log), begun))
    with turns.of(alone=True, next_alone=True):
        other.start()
        assert begun.wait(10)
    time.sleep(0.3)
    assert not log.exists()
    with turns.of(alone=True, next_alone=False):
        time.sleep(0.3)
        assert not log.exists()
    with turns.of(alone=False, next_alone=True):  # beside the other
        other.join(10)
        assert log.read_text() == "beside"
    with turns.of(alone=True, next_alone=False):
        pass


def test_a_failed_test_hands_its_turn_on_as_well() -> None:
    """What a test raises changes nothing for the next one, nor for others afterwards."""
    run = uuid.uuid4().hex
    turns = Turns(run)
    for following in (True, False):
        with pytest.raises(RuntimeError), turns.of(alone=True, next_alone=following):
            raise RuntimeError
    with turn(run, alone=True):
        pass
