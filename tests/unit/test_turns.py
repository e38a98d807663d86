"""Who is to be alone is, and gets its turn however many others come."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.turns import turn


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


def test_a_process_that_was_forked_meanwhile_does_not_keep_the_turn() -> None:
    """It has the files open that are locked; the next one is alone while it lives."""
    run, context = uuid.uuid4().hex, multiprocessing.get_context("fork")
    ends = context.Event()
    with turn(run, alone=True):
        forked = context.Process(target=ends.wait, args=(20,))
        forked.start()
    begun_s = time.monotonic()
    with turn(run, alone=True):
        assert time.monotonic() - begun_s < 10
        assert forked.is_alive()
    ends.set()
    forked.join()
