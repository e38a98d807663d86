"""The order in which the servers of a fleet take a version: turns, refusals, who is away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from console.paths import ROOT
from scripts.rollout.follow_alias import _round
from scripts.rollout.rolling_order import Fleet, HeldBack
from scripts.rollout.settings import Deployment, Superseded
from scripts.server.client import Loaded
from scripts.server.file_lock import holder_of

Make = Callable[..., Fleet]
HOLDER = """
import sys, time
from pathlib import Path
from scripts.rollout.rolling_order import Fleet
fleet = Fleet(folder=Path(sys.argv[1]), model_name="iqa", replica="gone")
with fleet.present(), fleet.turn("2", lambda: None):
    fleet.tell(None)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Make:
    """Make the view of one server."""

    def make(replica: str, most: int = 1) -> Fleet:
        return Fleet(folder=tmp_path, model_name="iqa", replica=replica, max_unavailable=most)

    return make


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A side-car that has its turn, and whose server is away; to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def no_objection() -> None:
    """Nobody decided otherwise."""


def serves(version: str) -> Loaded:
    """A version with a ready worker."""
    return Loaded(version=version, mar="iqa.mar", pids=(1,), ready=1, queue=0)


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_than_said_are_between_two_versions(fleet: Make, most: int) -> None:
    """Six servers that begin together, in threads: never more than `most` at once, all in turn."""
    now, highest, done = 0, 0, []
    lock = threading.Lock()

    def bring_in(one: Fleet) -> None:
        nonlocal now, highest
        with one.turn("2", no_objection):
            with lock:
                now += 1
                highest = max(highest, now)
            time.sleep(0.1)
            with lock:
                now -= 1
                done.append(one.replica)

    threads = [threading.Thread(target=bring_in, args=(fleet(f"s{i}", most),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [f"s{i}" for i in range(6)]
    assert highest == most


def test_a_turn_that_ends_early_lets_the_next_one_begin(fleet: Make) -> None:
    """A version that was good before does not keep the others waiting while it is watched."""
    a = fleet("a")
    lock = a.folder / f"{a.model_name}.turn-0.lock"
    with a.turn("1", no_objection) as turn:
        assert holder_of(lock) is not None
        turn.end()
        assert holder_of(lock) is None
        with fleet("b").turn("1", no_objection):
            assert holder_of(lock) is not None


def test_a_killed_side_car_frees_its_turn_and_its_place(
    fleet: Make, gone: subprocess.Popen[str]
) -> None:
    """While it lives, its server counts as away; no clock decides when it does not."""
    with pytest.raises(HeldBack, match="fewer than 1 servers of the fleet away, got gone"):
        fleet("a").turn("2", no_objection).__enter__()
    with fleet("a").present():
        fleet("a").tell(serves("1"))
        assert {one.replica: one.served for one in fleet("b").members()} == {"a": "1", "gone": None}
        gone.kill()
        gone.wait()
        assert [one.replica for one in fleet("b").members()] == ["a"]
    with fleet("a").turn("2", no_objection):
        pass
    assert fleet("b").members() == []


def test_a_turn_and_one_that_is_away_count_together(
    fleet: Make, gone: subprocess.Popen[str]
) -> None:
    """With two allowed, the one that is away has its turn as well: two places are taken."""
    waits = threading.Event()

    def take() -> None:
        with fleet("a", 2).turn("2", no_objection):
            waits.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not waits.wait(0.5)
    gone.kill()
    gone.wait()
    assert waits.wait(10)
    thread.join()


def test_a_refused_version_is_left_by_the_others_and_by_those_who_wait(fleet: Make) -> None:
    """The next in turn does not begin; another version may; who refused it may try again."""
    caught: list[str] = []

    def wait_for_turn() -> None:
        try:
            with fleet("b").turn("2", no_objection):
                caught.append("began")
        except HeldBack as error:
            caught.append(str(error))

    with fleet("a").turn("2", no_objection):
        thread = threading.Thread(target=wait_for_turn)
        thread.start()
        fleet("a").refuse("2", "version 2: golden picture 1: expected 82.1, got 12.0.")
    thread.join()
    assert caught == [
        "version 2 is held back: server a refused it: version 2: golden picture 1: expected 82.1, "
        "got 12.0. Move the alias, or try again: python -m scripts.deploy sync --model-name iqa "
        "--retry"
    ]
    fleet("b").forgive("2")  # not its own refusal
    refusal = fleet("c").refusal()
    assert refusal is not None
    assert (refusal.version, refusal.replica) == ("2", "a")
    with fleet("a").turn("2", no_objection):
        pass
    with fleet("b").turn("3", no_objection):  # the alias moved: that one is over
        pass
    assert fleet("c").refusal() is None


def test_a_new_try_is_one_for_all(fleet: Make) -> None:
    """`--retry` on any server ends the refusal of any other."""
    fleet("a").refuse("2", "too slow.")
    assert fleet("c").refusal() is not None
    fleet("b").forgive()
    assert fleet("c").refusal() is None
    with fleet("c").turn("2", no_objection):
        pass


def test_an_objection_ends_a_turn_before_it_begins(fleet: Make) -> None:
    """The alias moved while it waited: the turn is free again, and a refusal of before stays."""
    fleet("a").refuse("3", "it does not load.")

    def moved() -> None:
        raise Superseded("staging moved: version 2 -> 3")

    with pytest.raises(Superseded):
        fleet("b").turn("2", moved).__enter__()
    assert fleet("b").refusal() is not None
    with fleet("c").turn("4", no_objection):
        pass


def test_two_side_cars_of_one_name_are_noticed(fleet: Make) -> None:
    """Else one would tell what the other's server serves."""
    with ExitStack() as stack:
        stack.enter_context(fleet("a").present())
        with pytest.raises(TimeoutError, match="side-car of server a: expected it to end"):
            stack.enter_context(fleet("a").present())


def test_a_held_round_is_called_so() -> None:
    """It has a name of its own for the metrics, and is no failure of this server."""

    def find() -> Deployment:
        raise HeldBack("version 2 is held back: server a refused it: too slow.")

    assert _round(find, retry=False) == "held"


@pytest.mark.parametrize(
    ("replica", "most", "said"),
    [("a/b", 1, "--replica: expected letters"), ("a", 0, "--max-unavailable: expected 1 or more")],
)
def test_what_cannot_be_is_refused(fleet: Make, replica: str, most: int, said: str) -> None:
    """A name that is no file's, and an order in which nobody begins."""
    with pytest.raises(ValueError, match=said):
        fleet(replica, most)
