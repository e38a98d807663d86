"""
What each of TorchServe's settings costs: ours, and ours with one thing changed.

    python -m benchmarks.settings [--seconds 6] [--rounds 2] [--out build/bench]

Around a handler that does nothing, so that the server's own work is what is measured: CPU time a
request of Java and of the worker, at 16 clients with a 63 kB body. Writes `settings.md`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tqdm import tqdm

from benchmarks import sent_pictures
from benchmarks.load import Request, closed_loop
from benchmarks.peers.launches import ROOT
from benchmarks.peers.torchserve import pack_noop
from benchmarks.report_tables import table
from benchmarks.resources import CpuMeter, footprint
from console import command_line
from scripts.archive.mar_file import MODEL_CONFIG
from scripts.server import process
from scripts.server.addresses import Ports
from scripts.server.state import StateDir

CLIENTS = 16
WARM_S = 12  # some 15,000 requests: Java compiles what runs often
PORT = 23900


@dataclass(frozen=True, kw_only=True)
class Variant:
    """
    Our settings but for one.

    Attributes:
        title: What is different.
        properties: Keys of config.properties; None leaves the key out.
        logging: Text of log4j2.xml -> its replacement.
        environment: Variables for the server and its workers.
    """

    title: str
    properties: dict[str, str | None] = field(default_factory=dict)
    logging: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


QUICK = "-Xmx512m -XX:TieredStopAtLevel=1"
VARIANTS = (
    Variant(title="ours"),
    Variant(title="two lines a request from the worker", environment={"TALKATIVE": "1"}),
    Variant(
        title="access log",
        logging={'name="ACCESS_LOG" level="off"': 'name="ACCESS_LOG" level="info"'},
    ),
    Variant(
        title="TorchServe's log level, DEBUG",
        logging={
            'name="org.pytorch.serve" level="info"': 'name="org.pytorch.serve" level="debug"',
            'level="warn"': 'level="debug"',
        },
    ),
    Variant(title="logging not asynchronous", properties={"async_logging": "false"}),
    Variant(
        title="netty's threads by the cores, 2",
        properties={"number_of_netty_threads": None, "netty_client_threads": None},
    ),
    Variant(title="bodies on Java's heap", properties={"prefer_direct_buffer": None}),
    Variant(title="no native transport", properties={"use_native_io": "false"}),
    Variant(title="Java's own collector, G1", properties={"vmargs": QUICK}),
    Variant(title="parallel collector", properties={"vmargs": f"{QUICK} -XX:+UseParallelGC"}),
    Variant(title="both of Java's compilers", properties={"vmargs": "-Xmx512m -XX:+UseSerialGC"}),
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Measure all variants in turn, so many rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settings", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=int, default=6, help="of load, each (default: 6)")
    parser.add_argument("--rounds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", help="folder (default: build/bench)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        if StateDir.from_environment().server() is not None:
            raise RuntimeError(
                "expected no server of this checkout, got one running. "
                "Stop it: scripts/run_torchserve.sh --stop"
            )
        seen: dict[str, list[tuple[float, float, float, float]]] = {}
        runs = [variant for _ in range(arguments.rounds) for variant in VARIANTS]
        for variant in tqdm(runs, unit="start"):
            seen.setdefault(variant.title, []).append(measure(variant, arguments.seconds))
        rows = []
        for title, figures in seen.items():
            java, worker, per_s, pss = map(statistics.median, zip(*figures, strict=True))
            rows.append([title, f"{java:.2f}", f"{worker:.2f}", f"{per_s:.0f}", f"{pss:.0f}"])
        header = ["", "Java, ms a request", "worker, ms a request", "requests/s", "Java, PSS MB"]
        text = table(header, rows)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "settings.md").write_text(text + "\n")
        print(text)
        return 0

    return command_line.run(command, arguments.debug)


def measure(variant: Variant, seconds: int) -> tuple[float, float, float, float]:
    """Return CPU ms a request of Java and of the worker, requests/s, and Java's PSS in MB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder)
        _write_settings(variant, settings)
        parts = settings / "parts"
        parts.mkdir()
        shutil.copyfile(MODEL_CONFIG, parts / MODEL_CONFIG.name)
        (parts / "model.json").write_text("{}")
        mar = pack_noop(settings / "store", parts)
        ports = Ports(inference=PORT, management=PORT + 1, metrics=PORT + 2)
        os.environ.update(variant.environment)
        state = StateDir.from_environment()
        server = process.start({"iqa": mar}, ports, {"iqa": 1}, state, settings)
        try:
            process.wait_until_ready(server, {"iqa": 1}, state)
            java = psutil.Process(server.pid)

            def processes() -> list[psutil.Process]:
                return [java, *java.children(recursive=True)]

            request = Request(
                url=f"http://127.0.0.1:{PORT}/predictions/iqa",
                body=sent_pictures.make(sent_pictures.SMALL),
                headers={"Content-Type": "application/octet-stream"},
            )
            closed_loop(request, CLIENTS, WARM_S)
            meter = CpuMeter(processes)
            load = closed_loop(request, CLIENTS, seconds)
            used = meter.stop(load.client_cpu_s)
            held = footprint([java])
        finally:
            process.stop(server)
            for name in variant.environment:
                os.environ.pop(name)
    return (
        1000 * used.by_role_s["jvm"] / load.scored,
        1000 * used.by_role_s["worker"] / load.scored,
        load.rate_per_s,
        held.total_pss_bytes / 1e6,
    )


def _write_settings(variant: Variant, folder: Path) -> None:
    shutil.copytree(ROOT / "torchserve", folder / "torchserve")
    log = folder / "torchserve" / "log4j2.xml"
    text = log.read_text()
    for old, new in variant.logging.items():
        if old not in text:
            raise ValueError(f"{variant.title}: expected {old} in log4j2.xml, got none.")
        text = text.replace(old, new)
    log.write_text(text)
    lines = (ROOT / "config.properties").read_text().splitlines()
    kept = [line for line in lines if line.split("=")[0] not in variant.properties]
    added = [f"{key}={value}" for key, value in variant.properties.items() if value is not None]
    (folder / "config.properties").write_text("\n".join([*kept, *added]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
