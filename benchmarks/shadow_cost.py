"""
What copies cost the clients: half of the capacity, with a tenth copied to a second version.

    python -m benchmarks.shadow_cost [--seconds 10] [--rounds 5]

With and without copies in turn, on the same processes, at a constant rate. The second version is
the first one's archive under another number. Needs wrk. Writes `shadow_cost.json` and
`shadow_cost.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from typing import Any, Final

from tqdm import tqdm

from benchmarks.bench import served_archive
from benchmarks.front_cost import run
from benchmarks.load import closed_loop
from benchmarks.open_loop import Phase, open_loop, summarise
from benchmarks.reliability.system import FIRST, MODEL, WORKERS, System
from benchmarks.reliability.versions import copy_archive
from benchmarks.tables import table
from scripts.archive import mar_file
from scripts.nginx.split import Split, SplitFront
from scripts.rollout.records import Records
from scripts.server.state import StateDir

WARM_S: Final = 10
CANDIDATE: Final = "2"
PERCENT: Final = 10.0
WAYS: Final = ("with copies", "without")


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    return run("shadow_cost", __doc__, measure, as_table, argv)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Return a record for each round and way: `way`, `rate_per_s`, `statuses`, `latency`.

    Raises:
        RuntimeError: The system does not start, or the second version is not ready in time.
    """
    rounds = []
    with System(
        arguments.out / "shadow_cost", arguments.port, mar=served_archive(), is_fronted=True
    ) as system:
        state = StateDir.at(system.disk / "state")
        # The side-car would unload what nobody wants.
        with Records(state=state, model_name=MODEL).one_sync_at_a_time():
            _load(system)
            front = SplitFront(state.front)
            front.begin(
                Split(kind="shadow", model_name=MODEL, version=CANDIDATE, shares=(PERCENT,))
            )
            request = system.request()
            rate_per_s = closed_loop(request, arguments.clients, WARM_S).rate_per_s / 2
            order = [way for i in range(arguments.rounds) for way in WAYS[:: -1 if i % 2 else 1]]
            for way in tqdm(order, unit="round"):
                if way == WAYS[0]:
                    front.give(1)
                phase = Phase(rate_per_s=rate_per_s, seconds=arguments.seconds)
                load = summarise(open_loop(request, [phase])[0], phase)
                front.take_back()
                time.sleep(1.0)
                rounds.append(
                    {
                        "way": way,
                        "rate_per_s": rate_per_s,
                        "statuses": load.statuses,
                        "latency": dataclasses.asdict(load.latency),
                        "is_client_slow": load.is_client_slow,
                    }
                )
            front.end()
    return rounds


def _load(system: System) -> None:
    """Load the second version beside the first, with as many workers."""
    source, target = (
        mar_file.mar_path(system.store, MODEL, version) for version in (FIRST, CANDIDATE)
    )
    copy_archive(source, target, MODEL, CANDIDATE)
    server = system.torchserve
    server.load(target.name, WORKERS)
    system.wait_until(
        lambda: (found := server.find(CANDIDATE)) is not None and found.ready == WORKERS,
        "the second version",
    )


def as_table(rounds: list[dict[str, Any]]) -> str:
    """Return medians of the rounds, and what copies add, as Markdown."""
    rows = []
    for name in ("p50_ms", "p99_ms"):
        with_copies, without = (
            statistics.median(one["latency"][name] for one in rounds if one["way"] == way)
            for way in WAYS
        )
        rows.append(
            [
                name.replace("_ms", ", ms"), f"{with_copies:.1f}", f"{without:.1f}",
                f"{100 * (with_copies / without - 1):+.1f} %",
            ]
        )  # fmt: skip
    for way in WAYS:
        others = sum(
            count
            for one in rounds
            if one["way"] == way
            for status, count in one["statuses"].items()
            if status != "200"
        )
        rows.append([f"not scored, {way}", str(others), "", ""])
    return table(["", *WAYS, "difference"], rows)


if __name__ == "__main__":
    sys.exit(main())
