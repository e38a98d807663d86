"""
What the front costs a request: the whole system asked through nginx, and past it.

    python -m benchmarks.front_cost [--seconds 10] [--rounds 5] [--clients 16]

Both ways in turn, so many rounds, on the same processes: CPU time a request by role, throughput,
latency. Needs wrk. Writes `front_cost.json` and `front_cost.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from tqdm import tqdm

from benchmarks import record
from benchmarks.bench import BASE_PORT, end_with_servers, served_archive
from benchmarks.load import Request, closed_loop
from benchmarks.reliability.system import System
from benchmarks.report_tables import table
from benchmarks.resources import CpuMeter
from console import command_line

WARM_S: Final = 10
WAYS: Final = ("through the front", "past it")
COUNTED: Final = ("front", "jvm", "worker")


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    return run("front_cost", __doc__, measure, as_table, argv)


def run(
    name: str,
    description: str | None,
    measure: Callable[[argparse.Namespace], list[dict[str, Any]]],
    as_table: Callable[[list[dict[str, Any]]], str],
    argv: list[str] | None,
) -> int:
    """
    Be the command of a comparison by rounds: read the options, measure, print, write.

    Args:
        name: Module of `benchmarks`, and name of the two files.
        description: For `--help`.
        measure: Returns a record for each round and way.
        as_table: Returns the records as Markdown.
        argv: Command line; None: the process's.
    """
    parser = record.parser_of(name, description, "reliability")
    parser.add_argument("--seconds", type=int, default=10, help="of load, each (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=BASE_PORT, help="first of ten (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    end_with_servers()

    def command() -> int:
        rounds = measure(arguments)
        found = {"clients": arguments.clients, "rounds": rounds}
        return record.keep(arguments.out, name, found, as_table(rounds))

    return command_line.run(command, arguments.debug)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Return a record for each round and way: `way`, `rate_per_s`, `latency`, `cpu_ms` by role.

    Raises:
        RuntimeError: The system does not start, or a request failed.
    """
    rounds = []
    workspace = arguments.out / "front_cost"
    with System(workspace, arguments.port, mar=served_archive(), is_fronted=True) as system:
        fronted = system.request()
        past = fronted.url.replace(f":{arguments.port}/", f":{system.backend_port}/")
        requests = dict(zip(WAYS, (fronted, dataclasses.replace(fronted, url=past)), strict=True))
        closed_loop(fronted, arguments.clients, WARM_S)
        order = [way for i in range(arguments.rounds) for way in WAYS[:: -1 if i % 2 else 1]]
        for way in tqdm(order, unit="round"):
            rounds.append({"way": way, **measured(system, requests[way], arguments)})
    return rounds


def measured(system: System, request: Request, arguments: argparse.Namespace) -> dict[str, Any]:
    """
    Return `rate_per_s`, `latency`, `cpu_ms` by role and `strangers_s` of one round.

    Raises:
        RuntimeError: A request failed.
    """
    meter = CpuMeter(system.server_processes)
    load = closed_loop(request, arguments.clients, arguments.seconds)
    used = meter.stop(load.client_cpu_s)
    if load.refused or load.timeouts or load.socket_errors:
        raise RuntimeError(
            f"{request.url}: expected only scores, got {load.refused} refusals, {load.timeouts} "
            f"timeouts and {load.socket_errors} socket errors."
        )
    return {
        "rate_per_s": load.rate_per_s,
        "latency": dataclasses.asdict(load.latency),
        "cpu_ms": {role: 1000 * s / load.scored for role, s in used.by_role_s.items()},
        "strangers_s": used.strangers_s,
    }


def medians(
    rounds: Sequence[dict[str, Any]], ways: Sequence[str], roles: Sequence[str]
) -> dict[str, list[float]]:
    """
    Return the medians of each way's rounds.

    Args:
        rounds: Records of `measured`, each with its `way`.
        ways: In the order of the columns.
        roles: Of the processes whose CPU time counts.

    Returns:
        {way: CPU ms a request by role and of all, scores a second, p50 and p99 in ms}.
    """
    columns: dict[str, list[float]] = {}
    for way in ways:
        mine = [record for record in rounds if record["way"] == way]
        cpu = {role: [one["cpu_ms"][role] for one in mine] for role in roles}
        columns[way] = [
            *(statistics.median(cpu[role]) for role in roles),
            statistics.median(map(sum, zip(*cpu.values(), strict=True))),
            statistics.median(one["rate_per_s"] for one in mine),
            *(statistics.median(one["latency"][f"p{p}_ms"] for one in mine) for p in (50, 99)),
        ]
    return columns


def as_table(rounds: list[dict[str, Any]]) -> str:
    """Return medians of the rounds, and what the front adds, as Markdown."""
    columns = medians(rounds, WAYS, COUNTED)
    titles = [
        "CPU of nginx, ms a request", "of Java", "of the workers", "of all three",
        "scores a second", "p50, ms", "p99, ms",
    ]  # fmt: skip
    rows = [
        [title, f"{fronted:.2f}", f"{past:.2f}", f"{fronted - past:+.2f}"]
        for title, fronted, past in zip(titles, *columns.values(), strict=True)
    ]
    return table(["", *WAYS, "difference"], rows)


if __name__ == "__main__":
    sys.exit(main())
