"""The reliability harness on the real system: a swap and a fault, briefly."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from benchmarks.reliability import fault_runs, overload, swaps
from benchmarks.reliability.faults import FAULTS, Scene
from benchmarks.reliability.system import System
from benchmarks.reliability.versions import add_version
from tests.ports import free_port
from tests.quick import Quick

pytestmark = pytest.mark.alone

RATE_PER_S = 15.0
WAIT_S = 60.0


@pytest.fixture(scope="module")
def system(quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The whole system, with the front, and a good version 2."""
    before = dict(os.environ)
    system = System(
        tmp_path_factory.mktemp("system"),
        free_port(),
        mar=quick.archive,
        is_fronted=True,
    )
    with system:
        add_version(system.store)
        yield system
    os.environ.clear()
    os.environ.update(before)


def test_swaps_are_measured_on_the_real_system(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two swaps by the side-car: every request is scored, and each new version's first is seen."""
    for pause in ("CALM_S", "PAUSE_S"):
        monkeypatch.setattr(swaps, pause, 0.5)
    record = swaps.swaps(system, RATE_PER_S, 2, "standby", "side-car")
    assert record["reasons"] == {}
    assert record["tally"]["scored"] == record["tally"]["sent"] > 4 * RATE_PER_S
    assert [mark["version"] for mark in record["marks"]] == ["2", "1"]
    assert all(mark["began_s"] < mark["first_s"] < mark["ended_s"] for mark in record["marks"])
    assert record["is_right"]


def test_a_fault_is_measured_on_the_real_system(system: System) -> None:
    """A killed worker: no answer is lost but its own, and the version stays the right one."""
    scene = Scene(system=system, disk_reason="not asked for")
    fault = dataclasses.replace(FAULTS["worker-killed"], after_s=4.0)
    record = fault_runs.run(scene, fault, RATE_PER_S)
    counts = record["tally"]
    assert counts["sent"] > 7 * RATE_PER_S
    assert counts["lost"] + counts["failed"] <= 2  # a batch
    assert counts["unaccepted"] == 0
    assert record["is_right"]


def test_a_sync_and_a_rollback_work_under_three_times_the_load(system: System) -> None:
    """The front refuses the surplus, what it lets in is scored, and the commands find room."""
    system.settle("1")
    system.stop_side_car()
    try:
        capacity = overload.capacity_per_s(system)
        record = overload.overload(system, 3.0, capacity, add_version(system.store))
    finally:
        system.start_side_car()
    counts = record["tally"]
    assert overload.is_good(record), record
    assert set(record["reasons"]) <= {"503 overloaded", "503 expired"}
    assert counts["refused"] > counts["scored"] / 2  # it was overload
    for step in ("sync", "rollback"):
        assert record[step]["command_s"] < WAIT_S
        assert record[step]["first_score_s"] < record[step]["command_s"] + WAIT_S
