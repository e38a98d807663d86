"""
What the ways of the API cost a request, beside /predictions/iqa: past the gateway, and through it.

    python -m benchmarks.gateway_cost [--seconds 10] [--rounds 5] [--clients 16]

The front passes /predict on to the model itself, and /predict/ to the gateway. The same form each
way in turn, so many rounds, on the same processes: CPU time a request by role, throughput, latency;
past the front as well. Needs wrk. Writes `gateway_cost.json` and `.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from typing import Any, Final

from tqdm import tqdm

from benchmarks.bench import served_archive
from benchmarks.front_cost import WARM_S, medians, run
from benchmarks.front_cost import measured as one_round
from benchmarks.load import Request, closed_loop
from benchmarks.peers.launches import multipart, raw
from benchmarks.reliability.system import System
from benchmarks.report_tables import table
from benchmarks.sent_pictures import SMALL, make

WAYS: Final = ("/predict", "/predict/", "/predictions/iqa", "TorchServe's port")
DIRECT: Final = WAYS.index("/predictions/iqa")
COUNTED: Final = ("gateway", "front", "jvm", "worker")


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    return run("gateway_cost", __doc__, measure, as_table, argv)


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Return a record for each round and way, as `front_cost.measured` does.

    Raises:
        RuntimeError: The system does not start, or a request failed.
    """
    rounds = []
    workspace = arguments.out / "gateway_cost"
    with System(
        workspace, arguments.port, mar=served_archive(), is_fronted=True, has_web=True
    ) as system:
        body, headers = multipart("file")(make(SMALL))
        form = Request(url=f"{system.url}/predict", body=body, headers=headers)
        gateway, direct = (
            dataclasses.replace(form, url=f"{system.url}{path}")
            for path in ("/predict/", "/predictions/iqa")
        )
        past = Request(  # under its own type TorchServe would take the form apart itself
            url=f"http://127.0.0.1:{system.backend_port}/predictions/iqa",
            body=body,
            headers=raw(b"")[1],
        )
        requests = dict(zip(WAYS, (form, gateway, direct, past), strict=True))
        closed_loop(form, arguments.clients, WARM_S)
        order = [way for i in range(arguments.rounds) for way in WAYS[:: -1 if i % 2 else 1]]
        for way in tqdm(order, unit="round"):
            rounds.append({"way": way, **one_round(system, requests[way], arguments)})
    return rounds


def as_table(rounds: list[dict[str, Any]]) -> str:
    """Return medians of the rounds, and what the gateway adds, as Markdown."""
    columns = medians(rounds, WAYS, COUNTED)
    titles = [
        "CPU of the gateway, ms a request", "of nginx", "of Java", "of the workers", "of all four",
        "scores a second", "p50, ms", "p99, ms",
    ]  # fmt: skip
    rows = [
        [title, *(f"{value:.2f}" for value in values), f"{values[0] - values[DIRECT]:+.2f}"]
        for title, *values in zip(titles, *columns.values(), strict=True)
    ]
    pairs = _ratios(rounds)
    rows.append(["throughput, share of /predictions/iqa", *(f"{one:.3f}" for one in pairs), ""])
    return table(["", *WAYS, "/predict adds"], rows)


def _ratios(rounds: list[dict[str, Any]]) -> list[float]:
    """Return each way's throughput over that of /predictions/iqa, median over rounds."""
    rates = {way: [one["rate_per_s"] for one in rounds if one["way"] == way] for way in WAYS}
    return [
        statistics.median(a / b for a, b in zip(rates[way], rates[WAYS[DIRECT]], strict=True))
        for way in WAYS
    ]


if __name__ == "__main__":
    sys.exit(main())
