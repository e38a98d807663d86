"""Start the system, run what was asked for, and keep each record as soon as it is there."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import machine
from benchmarks.bench import end_with_servers
from benchmarks.reliability import fault_runs, overload, swaps
from benchmarks.reliability.clock import Clock
from benchmarks.reliability.clock import why_not as clock_reason
from benchmarks.reliability.fault_runs import run
from benchmarks.reliability.faults import FAULTS, Scene
from benchmarks.reliability.small_disk import small_disk
from benchmarks.reliability.steady_load import SteadyLoad
from benchmarks.reliability.system import FIRST, System
from benchmarks.reliability.versions import add_version

Record = dict[str, Any]

DISK_MB: Final = 192
CLOCKED: Final = ("clock-step",)
"""Faults that need a system with a clock of its own."""
WARM_UP_S: Final = 20.0
"""Java compiles what runs often."""


def run_swaps(arguments: argparse.Namespace) -> int:
    """
    Measure swaps and rollbacks; `swaps.json`.

    Returns:
        0 if every request was scored and every version the right one, else 1.
    """
    is_good = True
    with _document(arguments, "swaps.json") as document, _system(arguments) as system:
        document.setdefault("series", {})
        swaps.add_versions(system)
        _warm_up(system, arguments.rate)
        for series in arguments.series:
            record = swaps.swaps(system, arguments.rate, arguments.swaps, series, arguments.by)
            document["series"][f"{series}/{arguments.by}"] = record
            _write(arguments.out / "swaps.json", document)
            swaps.say(record)
            counts = record["tally"]
            is_good &= counts["scored"] == counts["sent"] and record["is_right"]
        if arguments.rollbacks:
            document["rollbacks"] = swaps.rollbacks(system, arguments.rate, arguments.rollbacks)
            is_good &= all(
                one["tally"]["scored"] == one["tally"]["sent"] and one["is_right"]
                for one in document["rollbacks"]["runs"]
            )
    return 0 if is_good else 1


def run_overload(arguments: argparse.Namespace) -> int:
    """
    Measure a sync and a rollback under overload; `overload.json`.

    Returns:
        0 if both did what they must and no accepted request was lost, else 1.
    """
    is_good = True
    with _document(arguments, "overload.json") as document, _system(arguments) as system:
        _warm_up(system, arguments.rate)
        system.stop_side_car()
        document["capacity_per_s"] = capacity = overload.capacity_per_s(system)
        document["runs"] = []
        for factor in arguments.factors:
            record = overload.overload(system, factor, capacity, add_version(system.store))
            overload.say(record)
            document["runs"].append(record)
            _write(arguments.out / "overload.json", document)
            is_good &= overload.is_good(record)
    return 0 if is_good else 1


def run_faults(arguments: argparse.Namespace) -> int:
    """
    Do the faults, each so many times; `faults.json`.

    Returns:
        0 if each could be run or had a reason not to, else 1; what it cost is in the report.

    Raises:
        ValueError: An unknown fault.
    """
    names = arguments.only or list(FAULTS)
    for name in names:
        if name not in FAULTS:
            raise ValueError(f"--only: expected some of {', '.join(FAULTS)}, got {name!r}.")
    is_good = True
    with _document(arguments, "faults.json") as document:
        found = document.setdefault("faults", {})
        for clocked in (False, True):
            own = [name for name in names if (name in CLOCKED) == clocked]
            if own:
                for name, record in _faults(arguments, own, is_clocked=clocked):
                    found[name] = record
                    _write(arguments.out / "faults.json", document)
                    is_good &= not any("error" in one for one in record["runs"])
    return 0 if is_good else 1


def _faults(
    arguments: argparse.Namespace, names: list[str], *, is_clocked: bool
) -> Iterator[tuple[str, Record]]:
    """Run some faults in one system; yields each fault's record after each of its runs."""
    work = _work(arguments)
    clock = Clock(work / "clock") if is_clocked and clock_reason() is None else None
    environment = clock.environment if clock else {}
    with (
        small_disk(work / "disk", DISK_MB) as disk_reason,
        _system(arguments, environment) as system,
    ):
        add_version(system.store)
        _warm_up(system, arguments.rate)
        for name in names:
            fault = FAULTS[name]
            scene = Scene(system=system, disk_reason=disk_reason, clock=clock)
            record: Record = {"measured_at": time.strftime("%Y-%m-%d %H:%M"), "runs": []}
            reason = fault.skipped(scene)
            if reason is not None:
                print(f"{name}: skipped: {reason}", file=sys.stderr)
                yield name, {**record, "skipped": reason}
                continue
            for _ in range(arguments.times):
                try:
                    one = run(scene, fault, arguments.rate)
                    fault_runs.say(name, one)
                except (RuntimeError, OSError) as error:  # the other faults are worth having
                    one = {"error": str(error)}
                    print(f"{name}: {error}", file=sys.stderr)
                record["runs"].append(one)
                yield name, record


def _work(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.out / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _system(arguments: argparse.Namespace, environment: dict[str, str] | None = None) -> System:
    return System(
        _work(arguments),
        arguments.port,
        mar=arguments.mar,
        is_fronted=arguments.front,
        environment=environment,
    )


def _warm_up(system: System, rate_per_s: float) -> None:
    system.settle(FIRST)
    with SteadyLoad(system.request(), rate_per_s) as load:
        time.sleep(WARM_UP_S)
        load.end()


@contextmanager
def _document(arguments: argparse.Namespace, name: str) -> Iterator[Record]:
    """Read what is there, so that a part can be measured again; write it at the end."""
    end_with_servers()
    path: Path = arguments.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n")
    document: Record = json.loads(path.read_text()) if path.exists() else {}
    document |= {
        "measured_at": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "rate_per_s": arguments.rate,
        "is_fronted": arguments.front,
    }
    yield document
    _write(path, document)
    print(f"results: {path}")


def _write(path: Path, document: Record) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document, indent=1) + "\n")
    fresh.replace(path)
