"""
What copies for a candidate cost the clients: latency at half the capacity, with them and without.

    python -m benchmarks.shadow_cost --seconds 60 --rounds 6

The whole system behind its front, loaded at a constant rate. In turn, so many rounds: the old
version alone, and `scripts.deploy sync --shadow 10`; of that run only the time counts in which the
front sends copies. Needs ten ports from --port on. Writes `shadow_cost.json` and `.md`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from tqdm import tqdm

from benchmarks.bench import served_archive
from benchmarks.front_cost import run
from benchmarks.load import Latency, latency_of
from benchmarks.open_loop import OK, Sending
from benchmarks.prediction_log_cost import ratio
from benchmarks.reliability.overload import capacity_per_s
from benchmarks.reliability.steady_load import SteadyLoad
from benchmarks.reliability.system import System
from benchmarks.reliability.versions import add_version
from benchmarks.report_tables import table
from scripts.server.prediction_log import VARIABLE

WAYS: Final = ("with copies", "without")
SETTLE_S: Final = 2.0
"""After the front was told to copy: nginx takes up the new share at its next request."""
COPIES: Final = re.compile(r"gets copies of")
REPORT: Final = re.compile(r"^(\d+) pictures were scored by both", re.MULTILINE)
OF_CAPACITY: Final = 0.5
PERCENT: Final = "10"


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    return run("shadow_cost", __doc__, measure, as_table, argv)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Return a record for each round and way: what was offered, latencies, how many copies.

    Raises:
        RuntimeError: A system does not start, a request failed, or nothing was copied.
    """
    work = arguments.out / "shadow_cost"
    log = (work / "predictions").resolve()
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir(parents=True)
    rounds = []
    system = System(
        work, arguments.port, mar=served_archive(), is_fronted=True,
        environment={VARIABLE: str(log)},
    )  # fmt: skip
    with system:
        system.stop_side_car()
        for _ in range(2):  # the first warms up
            capacity = capacity_per_s(system)
        system.move_alias(add_version(system.store))
        order = [way for i in range(arguments.rounds) for way in WAYS[:: -1 if i % 2 else 1]]
        for way in tqdm(order, unit="round"):
            with SteadyLoad(system.request(), OF_CAPACITY * capacity) as load:
                if way == WAYS[0]:
                    began_s, copies = _copied(system, load, arguments.seconds)
                else:
                    time.sleep(SETTLE_S)
                    began_s, copies = load.now_s(), 0
                    time.sleep(arguments.seconds)
                sendings = load.end()
            found = _latency(sendings, began_s, began_s + arguments.seconds)
            rounds.append(
                {
                    "way": way,
                    "capacity_per_s": capacity,
                    "offered_per_s": OF_CAPACITY * capacity,
                    "copies": copies,
                    "latency": asdict(found),
                }
            )
    return rounds


def _copied(system: System, load: SteadyLoad, seconds: float) -> tuple[float, int]:
    """Run the command; return when it began to copy, in the load's seconds, and how many copies."""
    began_s, said = None, ""
    step = str(seconds + SETTLE_S)
    with system.start_deploy("sync", "--shadow", PERCENT, "--step-s", step) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if began_s is None and COPIES.search(line):
                began_s = load.now_s() + SETTLE_S
    report = REPORT.search(said)
    if process.returncode != 0 or began_s is None or report is None or int(report[1]) == 0:
        raise RuntimeError(f"--shadow: expected copies and a report, got:\n{said}")
    return began_s, int(report[1])


def _latency(sendings: Sequence[Sending], began_s: float, ended_s: float) -> Latency:
    own = [one for one in sendings if began_s <= one.due_s < ended_s]
    failed = sum(one.status != OK for one in own)
    if failed:
        raise RuntimeError(
            f"load: expected a score for each of {len(own)} requests, {failed} had none."
        )
    return latency_of([one.done_s - one.due_s for one in own])


def as_table(rounds: Sequence[dict[str, Any]]) -> str:
    """Return the geometric means of the rounds and the ratio with its interval, as Markdown."""
    pairs = [[one for one in rounds if one["way"] == way] for way in WAYS]
    rows = []
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        copied, plain = ([one["latency"][name] for one in mine] for mine in pairs)
        share, low, high = ratio(copied, plain)
        rows.append(
            [
                name.replace("_ms", ", ms"),
                f"{sorted(copied)[len(copied) // 2]:.1f}",
                f"{sorted(plain)[len(plain) // 2]:.1f}",
                f"{share:.3f} ({low:.3f} to {high:.3f})",
            ]
        )
    asked = sum(one["latency"]["n"] for one in rounds)
    copies = sum(one["copies"] for one in rounds)
    return table(["", *WAYS, "ratio, 95 % interval"], rows) + (
        f"\n\n{asked} requests at {rounds[0]['offered_per_s']:.0f} a second, half of the capacity; "
        f"{copies} copies were scored"
    )


if __name__ == "__main__":
    sys.exit(main())
