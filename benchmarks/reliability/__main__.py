"""The command line: `python -m benchmarks.reliability swaps | faults | overload | report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers.launches import ROOT
from console import command_line

BASE_PORT = 24600


def main(argv: list[str] | None = None) -> int:
    """Run one of the four."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description="Load the whole system at a constant rate (MLflow, TorchServe, the front, the "
        "side-car) and: swaps: swap versions and roll back. faults: hurt it in ten ways. "
        "overload: swap and roll back while more is asked than it can do. report: make tables and "
        "plots of what was measured.",
        epilog="What was found: docs/reliability.md",
    )
    parser.add_argument("command", choices=("swaps", "faults", "overload", "report"))
    parser.add_argument(
        "--rate", type=float, default=60.0, help="requests a second (default: %(default)g)"
    )
    parser.add_argument(
        "--front", action=argparse.BooleanOptionalAction, default=True,
        help="with the front before TorchServe, as compose has it (default: with it)",
    )  # fmt: skip
    parser.add_argument("--mar", type=Path, help="archive to serve (default: the shipped model's)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "reliability",
        help="folder of the results (default: build/reliability)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=BASE_PORT,
        help="first of ten; gRPC takes two, 1010 below (default: %(default)s)",
    )  # fmt: skip
    swaps = parser.add_argument_group("swaps")
    swaps.add_argument(
        "--swaps", type=int, default=25, help="in each series (default: %(default)s)"
    )
    swaps.add_argument("--rollbacks", type=int, default=5, help="(default: %(default)s)")
    swaps.add_argument(
        "--series", nargs="+", choices=("standby", "loading"), default=["standby", "loading"],
        help="standby: between two versions that stay loaded; loading: among three, so that each "
        "swap loads one (default: both)",
    )  # fmt: skip
    swaps.add_argument(
        "--by", choices=("side-car", "command"), default="side-car",
        help="who swaps: sync --watch, or sync started for each swap (default: %(default)s)",
    )  # fmt: skip
    faults = parser.add_argument_group("faults")
    faults.add_argument("--times", type=int, default=5, help="each fault (default: %(default)s)")
    faults.add_argument(
        "--only", nargs="+", metavar="NAME",
        help="these faults; the results of the others are kept (default: all)",
    )  # fmt: skip
    overload = parser.add_argument_group("overload")
    overload.add_argument(
        "--factors", type=float, nargs="+", default=[1.5, 3.0], metavar="X",
        help="offered load, in times what the server can do (default: 1.5 3)",
    )  # fmt: skip
    report = parser.add_argument_group("report")
    report.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "reliability",
        help="folder of results.md and the plots (default: docs/reliability)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    if arguments.rate <= 0:
        parser.error(f"--rate: expected more than 0, got {arguments.rate}.")
    for count in ("swaps", "times"):
        if getattr(arguments, count) < 1:
            parser.error(f"--{count}: expected at least 1, got {getattr(arguments, count)}.")
    return command_line.run(lambda: _run(arguments), arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    # MLflow and the plots take seconds to import, and the load generator's process imports this.
    if arguments.command == "report":
        from benchmarks.reliability import report

        return report.write(arguments.out, arguments.page)
    from benchmarks.reliability import runs

    commands = {
        "swaps": runs.run_swaps,
        "faults": runs.run_faults,
        "overload": runs.run_overload,
    }
    return commands[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
