"""
What a model's server reaches of TorchServe's floor: a handler that does nothing, the same settings.

    python -m benchmarks.floor --model-name fashion_mnist [--seconds 10] [--rounds 5]

For networks so small that the server is what costs. Both in turn, so many rounds, the other one
paused: throughput at so many clients, CPU time a request by role; then one client alone. What is
sent is an image of the network's own size. Needs wrk. Writes `floor-NAME.json` and `floor-NAME.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import requests
from iqa.imaging.preprocessing import FIXED_SIZE, Policy
from iqa.network.runtime import OpenVINORuntime
from PIL import Image
from tqdm import tqdm

from benchmarks import record
from benchmarks.bench import BASE_PORT, PORTS_EACH, end_with_servers, served_archive
from benchmarks.load import Request, closed_loop
from benchmarks.peers import launches
from benchmarks.peers.launches import Launch, Site
from benchmarks.peers.processes import MarkedProcesses
from benchmarks.report_tables import table
from benchmarks.resources import CpuMeter
from benchmarks.sent_pictures import SOURCE
from console import command_line
from scripts.server.cores import usable_cores
from training.graph import precision

LAUNCHES: Final = {"model": launches.iqa, "floor": launches.torchserve_noop}
WARM_S: Final = 10
START_S: Final = 60.0
MUST_PER_S: Final = 1000.0
MUST_SHARE: Final = 0.9
"""The lower of the two bounds holds."""
MUST_MS: Final = 5.0


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = record.parser_of("floor", __doc__, "floor")
    command_line.add_model_name(parser, "registered model; its archive is built if need be")
    parser.add_argument("--mar", type=Path, help="archive (default: what the alias staging names)")
    parser.add_argument("--picture", type=Path, help="what is sent (default: made to the network)")
    parser.add_argument("--seconds", type=int, default=10, help="of load, each (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=BASE_PORT,
        help="first of twenty; gRPC takes two of each ten, 1010 below (default: %(default)s)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    end_with_servers()

    def command() -> int:
        name, found = arguments.model_name, measure(arguments)
        document = {"model": name, "clients": arguments.clients, **found}
        return record.keep(arguments.out, f"floor-{name}", document, as_table(found))

    return command_line.run(command, arguments.debug)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """
    Measure both servers.

    Returns:
        `rounds`: a record for each round and server; `alone`: the same with one client;
        `network_ms`: CPU milliseconds of the network alone.

    Raises:
        RuntimeError: A server does not start, or a request failed.
    """
    mar = (arguments.mar or served_archive(arguments.model_name)).resolve()
    model_dir = (arguments.out / f"model-{arguments.model_name}").resolve()
    with zipfile.ZipFile(mar) as packed:
        packed.extractall(model_dir)
    provenance = json.loads((model_dir / "provenance.json").read_text())
    policy = Policy.of_parameters(provenance["preprocessing"])
    body = arguments.picture.read_bytes() if arguments.picture else own_picture(policy)
    runtime = precision.open_graph(model_dir, provenance["precision"])
    assert isinstance(runtime, OpenVINORuntime)
    rounds, alone = [], []
    with ExitStack() as stack:
        servers = {}
        for place, (name, launch) in enumerate(LAUNCHES.items()):
            workspace = (arguments.out / "work" / name).resolve()
            workspace.mkdir(parents=True, exist_ok=True)
            port = arguments.port + PORTS_EACH * place
            site = Site(
                mar=mar, model_dir=model_dir, workspace=workspace, port=port,
                workers=usable_cores(),
            )  # fmt: skip
            servers[name] = stack.enter_context(running(launch(site), workspace, body))
        for server in servers.values():
            with server.awake():
                server.load(arguments.clients, WARM_S)
        order = [
            name for i in range(arguments.rounds) for name in [*servers][:: -1 if i % 2 else 1]
        ]
        for name in tqdm(order, unit="round"):
            with servers[name].awake():
                rounds.append(
                    {"server": name, **servers[name].load(arguments.clients, arguments.seconds)}
                )
        for name, server in servers.items():
            with server.awake():
                alone.append({"server": name, **server.load(1, arguments.seconds)})
    return {
        "rounds": rounds, "alone": alone, "picture_bytes": len(body),
        "precision": provenance["precision"],
        "network_ms": precision.ms_per_picture(runtime, policy),
    }  # fmt: skip


class Server:
    """
    A server that was started, paused when it is not measured.

    Args:
        processes: Its own.
        request: What it is asked.
    """

    def __init__(self, processes: MarkedProcesses, request: Request) -> None:
        self._processes, self._request = processes, request

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run while it is entered."""
        self._processes.resume()
        try:
            yield
        finally:
            self._processes.pause()

    def load(self, clients: int, seconds: int) -> dict[str, Any]:
        """
        Return `rate_per_s`, `latency`, `cpu_ms` by role and `strangers_s` of a closed loop.

        Raises:
            RuntimeError: A request failed.
        """
        meter = CpuMeter(self._processes.alive)
        load = closed_loop(self._request, clients, seconds)
        used = meter.stop(load.client_cpu_s)
        if load.refused or load.timeouts or load.socket_errors:
            raise RuntimeError(
                f"{self._request.url}: expected only answers, got {load.refused} refusals, "
                f"{load.timeouts} timeouts and {load.socket_errors} socket errors."
            )
        return {
            "rate_per_s": load.rate_per_s,
            "latency": dataclasses.asdict(load.latency),
            "cpu_ms": {role: 1000 * s / load.scored for role, s in used.by_role_s.items()},
            "strangers_s": used.strangers_s,
        }


@contextmanager
def running(launch: Launch, workspace: Path, body: bytes) -> Iterator[Server]:
    """
    Start a server, wait until it answers, leave it paused; end it afterwards.

    Raises:
        RuntimeError: It does not answer in time; with what it printed last.
    """
    content, headers = launch.encode(body)
    processes = MarkedProcesses(launch.command, launch.environment, workspace)
    try:
        deadline = time.monotonic() + START_S
        answer = "nothing"
        while answer != "200":
            if time.monotonic() > deadline or not processes.alive():
                raise RuntimeError(
                    f"{launch.url}: expected an answer within {START_S:g} s, got {answer}:\n"
                    f"{processes.last_words()}"
                )
            time.sleep(0.1)
            with contextlib.suppress(requests.RequestException):
                reply = requests.post(launch.url, data=content, headers=headers, timeout=START_S)
                answer = str(reply.status_code)
        server = Server(processes, Request(url=launch.url, body=content, headers=headers))
        processes.pause()
        yield server
    finally:
        processes.end()


def own_picture(policy: Policy) -> bytes:
    """Return an image of the network's own size as a PNG file; a JPEG where it takes any size."""
    if policy.fit != FIXED_SIZE:
        return SOURCE.read_bytes()
    file = io.BytesIO()
    with Image.open(SOURCE) as image:
        small = image.convert(policy.channels).resize((policy.width_px, policy.height_px))
    Image.fromarray(np.asarray(small)).save(file, "PNG")
    return file.getvalue()


def as_table(found: dict[str, Any]) -> str:
    """Return medians of the rounds and the verdicts as Markdown."""

    def median(server: str, of: str, key: str) -> float:
        return statistics.median(
            one["latency"][key] if key.endswith("_ms") else one[key]
            for one in found[of]
            if one["server"] == server
        )

    def cpu_ms(server: str, role: str) -> float:
        mine = [one["cpu_ms"][role] for one in found["rounds"] if one["server"] == server]
        return statistics.median(mine)

    names = [*LAUNCHES]
    rows = [
        ["answers a second", *(f"{median(name, 'rounds', 'rate_per_s'):.0f}" for name in names)],
        ["p50, ms", *(f"{median(name, 'rounds', 'p50_ms'):.2f}" for name in names)],
        ["p99, ms", *(f"{median(name, 'rounds', 'p99_ms'):.2f}" for name in names)],
        *(
            [f"CPU of {role}, ms a request", *(f"{cpu_ms(name, role):.3f}" for name in names)]
            for role in ("jvm", "worker")
        ),
        ["one client: p50, ms", *(f"{median(name, 'alone', 'p50_ms'):.2f}" for name in names)],
    ]
    ours, floor = (median(name, "rounds", "rate_per_s") for name in names)
    must = min(MUST_PER_S, MUST_SHARE * floor)
    reached = "reached" if ours >= must else f"missed by {1 - ours / must:.0%}"
    ms = median("model", "alone", "p50_ms")
    strangers = statistics.median(one["strangers_s"] for one in found["rounds"])
    lines = [
        table(["", *names], rows),
        "",
        f"{ours / floor:.2f} of the floor; at least {must:.0f}/s (the lower of {MUST_PER_S:.0f} "
        f"and {MUST_SHARE:g} of the floor): {reached}.",
        f"One client waits {ms:.2f} ms (at most {MUST_MS:g}): "
        f"{'reached' if ms <= MUST_MS else 'missed'}; the network takes "
        f"{found['network_ms']:.2f} ms of CPU in {found['precision']}.",
        f"Others on the machine used {strangers:.1f} s of CPU in a round.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
