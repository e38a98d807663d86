"""What the measurements share: earlier records, our memory's history, a server at rest."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.contenders import Running, Site
from benchmarks.load import Request
from benchmarks.measured_steps import LIMIT, OURS
from benchmarks.open_loop import OK, Phase, open_loop
from benchmarks.resources import Footprint, footprint

Record = dict[str, Any]

SETTLE_TIMEOUT_S: Final = 10.0


@dataclass(kw_only=True)
class Context:
    """
    What a measurement may use.

    Attributes:
        records: Records of the steps before, by key.
        site: Where a contender runs that is started for one step.
        picture: Name -> file.
        memory: Our server's footprints since it was started: `served`, and the footprint.
        served: Pictures that our server has answered since it was started.
    """

    records: dict[str, Record]
    site: Callable[[str], Site]
    picture: Callable[[str], bytes]
    memory: list[Record]
    served: int = 0

    def request(self, server: Running, picture: str) -> Request:
        """Return a picture in the words of a server."""
        body, headers = server.encode(self.picture(picture))
        return Request(url=server.url, body=body, headers=headers)

    def remember(self, contender: str, server: Running, served: int) -> Record:
        """Return the footprint now; keep our own, with how much was served so far."""
        now = footprint_record(footprint(server.processes()))
        if contender == OURS:
            self.served += served
            self.memory.append({"served": self.served, **now})
        return now


def settle(request: Request) -> bool:
    """
    Send one request and wait: what an earlier load left in the queue is then worked off.

    Returns:
        False if it was not answered 200 in time, as by a server that has collapsed.
    """
    sendings, _ = open_loop(request, [Phase(rate_per_s=1, seconds=1)], SETTLE_TIMEOUT_S)
    return sendings[0].status == OK


def rates_per_s(records: dict[str, Record], contender: str) -> list[float]:
    """
    Return a contender's throughput in each interleaved round.

    Raises:
        ValueError: It was not measured.
    """
    found = [
        record["load"]["rate_per_s"] if "load" in record else record["pictures_per_s"]
        for key, record in records.items()
        if key.startswith(f"rounds/{contender}/") and "error" not in record
    ]
    if not found:
        raise ValueError(f"rounds of {contender}: expected at least one, got none.")
    return found


def limit_per_s(records: dict[str, Record]) -> float:
    """Return the median throughput of the limit."""
    return statistics.median(rates_per_s(records, LIMIT))


def footprint_record(found: Footprint) -> Record:
    """Return a footprint with its total."""
    return {**dataclasses.asdict(found), "total_pss_bytes": found.total_pss_bytes}
