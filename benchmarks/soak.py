"""
Keep this server busy for an hour and watch what it holds.

    python -m benchmarks.soak [--minutes 60] [--rate 60] [--system] [--mar FILE] [--out DIR]

Memory, descriptors and threads of each process are read every ten seconds, latency is summarised
each minute. Growth of memory is what the end of the last half has over its beginning; of what comes
and goes with connections, the last third over the first. Cut short by Ctrl-C or TERM, it writes
what it has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from benchmarks import contenders, machine, sent_pictures
from benchmarks.bench import BASE_PORT, end_with_servers, served_archive, sites
from benchmarks.load import Request
from benchmarks.measured_steps import OURS
from benchmarks.open_loop import Phase, open_loop, summarise
from benchmarks.peers.launches import ROOT
from benchmarks.plots import plot_soak
from benchmarks.resources import footprint
from benchmarks.run_context import footprint_record
from console import command_line

Record = dict[str, Any]

SAMPLE_S: Final = 10.0
MINUTE_S: Final = 60.0
HELD: Final = ("total_pss_bytes", "descriptors", "threads", "processes")


def main(argv: list[str] | None = None) -> int:
    """Run the soak test."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=int, default=60, help="how long (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=60.0, help="requests a second (default: %(default)g)"
    )
    parser.add_argument(
        "--system", action="store_true",
        help="the whole system: supervisor, front, TorchServe, and the side-car beside an MLflow "
        "of its own (default: TorchServe alone)",
    )  # fmt: skip
    parser.add_argument(
        "--front", action=argparse.BooleanOptionalAction, default=True,
        help="with --system: with the front before TorchServe (default: with it)",
    )  # fmt: skip
    parser.add_argument("--mar", type=Path, help="the archive (default: what `make serve` serves)")
    parser.add_argument(
        "--out", type=Path,
        help="folder of soak.json and soak.svg (default: build/soak, build/reliability of the "
        "system)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=BASE_PORT, help="first of ten (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    if arguments.minutes < 1 or arguments.rate <= 0:
        parser.error("--minutes and --rate: expected at least 1, and more than 0.")
    end_with_servers()
    return command_line.run(lambda: soak(arguments), arguments.debug)


def soak(arguments: argparse.Namespace) -> int:
    """
    Serve, load, watch, and say what grew.

    Returns:
        0 if every request was scored, 1 otherwise, 130 if it was cut short.
    """
    name = "reliability" if arguments.system else "soak"
    out: Path = arguments.out or ROOT / "build" / name
    out.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")
    mar = (arguments.mar or served_archive()).resolve()
    document: Record = {
        "measured_at": time.strftime("%Y-%m-%d %H:%M"),
        "archive": machine.archive_facts(mar),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "rate_per_s": arguments.rate,
        "is_fronted": arguments.system and arguments.front,
        "is_cut_short": False,
        "minutes": [],
        "samples": [],
    }
    serving = _whole_system if arguments.system else _torchserve_alone
    with serving(arguments, mar, out) as (server, request):
        try:
            with Watch(server, document["samples"]):
                for minute in range(arguments.minutes):
                    document["minutes"].append(_one_minute(request, arguments.rate))
                    _say(minute + 1, arguments.minutes, document)
                    (out / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
        except KeyboardInterrupt:
            document["is_cut_short"] = True
        failed = conclude(document, out)
    if document["is_cut_short"]:
        return command_line.INTERRUPTED
    return 1 if failed else 0


def conclude(document: Record, out: Path) -> int:
    """Write what was seen, with growth and plot; return how many requests were not scored."""
    samples = document["samples"]
    found = ends(samples) if samples else {}
    document["growth"] = {name: after / before - 1 for name, (before, after) in found.items()}
    (out / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
    plot_soak(document, out / "soak.svg")
    failed: int = sum(
        n for one in document["minutes"] for status, n in one["statuses"].items() if status != "200"
    )
    grown = ", ".join(f"{name} {share:+.2%}" for name, share in document["growth"].items())
    cut = f"cut short after {len(document['minutes'])} minutes; " * document["is_cut_short"]
    print(f"{cut}grown by: {grown or 'nothing read'}; {failed} requests not scored")
    print(f"results: {out}/soak.json, soak.svg")
    return failed


@contextmanager
def _torchserve_alone(
    arguments: argparse.Namespace, mar: Path, out: Path
) -> Iterator[tuple[Watched, Request]]:
    with contenders.running(OURS, sites(mar, out, arguments.port)(OURS)) as server:
        body, headers = server.encode(sent_pictures.make(sent_pictures.SMALL))
        yield server, Request(url=server.url, body=body, headers=headers)


@contextmanager
def _whole_system(
    arguments: argparse.Namespace, mar: Path, out: Path
) -> Iterator[tuple[Watched, Request]]:
    from benchmarks.reliability.system import System  # MLflow takes seconds to import

    work = out / "work"
    work.mkdir(exist_ok=True)
    with System(work, arguments.port, mar=mar, is_fronted=arguments.front) as system:
        yield system, system.request()


def growth(values: Sequence[float]) -> float:
    """
    Return by how much the end of the last half exceeds its beginning, as a share.

    Medians of a fifth of the half each: a single reading may fall into a garbage collection.

    Args:
        values: In order of time, at least one.
    """
    before, after = _ends(values[len(values) // 2 :], parts=5)
    return after / before - 1


def ends(samples: Sequence[Record]) -> dict[str, tuple[float, float]]:
    """
    Return what is compared, by name of `HELD`: before and after, medians of several readings.

    Args:
        samples: Readings in order of time, at least one.
    """
    found: dict[str, tuple[float, float]] = {}
    for name in HELD:
        values = [float(sample[name]) for sample in samples]
        if name == "total_pss_bytes":  # rises at first, while pictures of all kinds come by
            found[name] = _ends(values[len(values) // 2 :], parts=5)
        else:
            found[name] = _ends(values, parts=3)
    return found


def _ends(values: Sequence[float], parts: int) -> tuple[float, float]:
    length = max(len(values) // parts, 1)
    return statistics.median(values[:length]), statistics.median(values[-length:])


class Watched(Protocol):
    """A server that can be watched."""

    def processes(self) -> list[psutil.Process]:
        """Return all its processes that live."""


class Watch:
    """
    Reads a server's footprint every `SAMPLE_S` while it is entered, in a thread of its own.

    Args:
        server: What is watched.
        samples: Takes the readings: `at_s` from the start, the footprint, and each process's PSS.
        every_s: Seconds between readings.
    """

    def __init__(self, server: Watched, samples: list[Record], every_s: float = SAMPLE_S) -> None:
        self._server = server
        self._samples = samples
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        started_s = time.monotonic()
        while not self._ended.wait(self._every_s):
            processes = self._server.processes()
            self._samples.append(
                {
                    "at_s": time.monotonic() - started_s,
                    **footprint_record(footprint(processes)),
                    "by_process": {
                        str(process.pid): footprint_record(footprint([process]))
                        for process in processes
                    },
                }
            )


def _one_minute(request: Request, rate_per_s: float, seconds: float = MINUTE_S) -> Record:
    phase = Phase(rate_per_s=rate_per_s, seconds=seconds)
    sendings, client_cpu_s = open_loop(request, [phase])
    return asdict(summarise(sendings, phase, client_cpu_s=client_cpu_s))


def _say(minute: int, minutes: int, document: Record) -> None:
    load, latest = document["minutes"][-1], (document["samples"] or [None])[-1]
    held = f"{latest['total_pss_bytes'] / 1e6:.0f} MB" if latest else "-"
    latency = load["latency"]
    print(
        f"[{minute}/{minutes} min] {load['statuses']}, mean {latency['mean_ms']:.1f} ms, "
        f"p99 {latency['p99_ms']:.1f} ms; {held}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
