"""
What the prediction log costs a request: two servers asked in turn, one with it and one without.

    python -m benchmarks.prediction_log_cost [--seconds 10] [--rounds 5] [--clients 16]

Both run all the time and one is asked: CPU time a request by role, throughput, latency; after each
round every answer must have its row. Needs wrk, and twenty ports from --port on. Writes
`prediction_log_cost.json` and `.md`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats
from tqdm import tqdm

from benchmarks.bench import served_archive
from benchmarks.front_cost import WARM_S, measured, medians, run
from benchmarks.load import closed_loop
from benchmarks.reliability.system import System
from benchmarks.report_tables import table
from scripts.prediction_log.reading import rows_of
from scripts.prediction_log.verify import verify
from scripts.server.prediction_log import VARIABLE

WAYS: Final = ("with the log", "without")
COUNTED: Final = ("jvm", "worker")
WRITTEN_S: Final = 2.0
PORTS_EACH: Final = 10


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    return run("prediction_log_cost", __doc__, measure, as_table, argv)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Return a record for each round and way, as `front_cost.measured` does.

    Raises:
        RuntimeError: A system does not start, a request failed, or an answer has no row.
    """
    rounds = []
    work = arguments.out / "prediction_log_cost"
    log = (work / "predictions").resolve()
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir(parents=True)
    mar = served_archive()
    logging, plain = (
        System(work / name, arguments.port + PORTS_EACH * place, mar=mar, environment=more)
        for place, (name, more) in enumerate((("with", {VARIABLE: str(log)}), ("without", {})))
    )
    with logging, plain:
        systems = dict(zip(WAYS, (logging, plain), strict=True))
        for system in systems.values():
            closed_loop(system.request(), arguments.clients, WARM_S)
        order = [way for i in range(arguments.rounds) for way in WAYS[:: -1 if i % 2 else 1]]
        for way in tqdm(order, unit="round"):
            system = systems[way]
            rounds.append({"way": way, **measured(system, system.request(), arguments)})
        _expect_rows(log, arguments.clients, logging)
    return rounds


def _expect_rows(log: Path, clients: int, system: System) -> None:
    """
    Check that the log did its work while it was measured.

    Raises:
        RuntimeError: It did not.
    """
    before = sum(1 for _ in rows_of(log))
    scored = closed_loop(system.request(), clients, 2).scored
    time.sleep(WRITTEN_S)
    rows, problems = sum(1 for _ in rows_of(log)) - before, verify(log).problems
    if rows < scored or problems:
        raise RuntimeError(
            f"prediction log: expected {scored} rows of the last two seconds and no problem, got "
            f"{rows}, and {problems[:3]}."
        )


def ratio(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """
    Return the geometric mean of `values[i] / others[i]`, and its 95 % interval (Student's t).

    Args:
        values: One for each round, above 0, at least two.
        others: Of the same rounds.
    """
    logarithms = np.log(values) - np.log(others)
    mean = np.mean(logarithms)
    half = stats.t.ppf(0.975, len(logarithms) - 1) * stats.sem(logarithms)
    return float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half))


def as_table(rounds: Sequence[dict[str, Any]]) -> str:
    """Return medians of the rounds, and the log's share of each with its interval, as Markdown."""
    columns = medians(rounds, WAYS, COUNTED)
    titles = [
        "CPU of Java, ms a request", "of the workers", "of both", "scores a second", "p50, ms",
        "p99, ms",
    ]  # fmt: skip
    rows = [
        [title, f"{logged:.2f}", f"{plain:.2f}", f"{logged - plain:+.2f}"]
        for title, logged, plain in zip(titles, *columns.values(), strict=True)
    ]
    pairs = [[one for one in rounds if one["way"] == way] for way in WAYS]
    quantities = {
        "throughput": lambda one: one["rate_per_s"],
        "CPU of both": lambda one: sum(one["cpu_ms"][role] for role in COUNTED),
    }
    for title, quantity in quantities.items():
        values, others = (list(map(quantity, mine)) for mine in pairs)
        share, low, high = ratio(values, others)
        rows.append(
            [f"{title}, share of that without", f"{share:.3f}", "1", f"{low:.3f} to {high:.3f}"]
        )
    return table(["", *WAYS, "difference"], rows)


if __name__ == "__main__":
    sys.exit(main())
