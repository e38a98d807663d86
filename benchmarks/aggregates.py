"""The figures that tables and targets are made of, computed from the results' records."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.contenders import CONTENDERS
from benchmarks.measured_steps import LIMIT, OURS, RIVALS
from benchmarks.results import Results
from benchmarks.sent_pictures import SMALL

Record = dict[str, Any]

LARGE: Final = f"closed/{OURS}/12MP.jpg"
STAGES: Final = ("decode", "preprocess", "graph")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Reads one run's results; whatever was not measured is None, never a guess."""

    results: Results

    def record(self, key: str) -> Record | None:
        """Return a step's record if it was measured."""
        found = self.results.steps.get(key)
        return None if found is None or "error" in found else found

    def records(self, prefix: str) -> list[Record]:
        """Return the records of all steps whose key begins so."""
        return [
            record
            for key, record in self.results.steps.items()
            if key.startswith(prefix) and "error" not in record
        ]

    def measured(self) -> list[str]:
        """Return the contenders of which there is anything, in the tables' order."""
        found = {record["step"]["contender"] for record in self.records("")}
        return [name for name in CONTENDERS if name in found]

    def rates_per_s(self, name: str) -> list[float]:
        """Return the throughput in each interleaved round at 16 clients."""
        return [
            record["load"]["rate_per_s"] if "load" in record else record["pictures_per_s"]
            for record in self.records(f"rounds/{name}/")
        ]

    def rate_per_s(self, name: str) -> float | None:
        """Return the median of the rounds."""
        return median(self.rates_per_s(name))

    def closed_rate_per_s(self, name: str, clients: int, picture: str = SMALL) -> float | None:
        """Return the throughput of a single closed-loop run."""
        record = self.record(f"closed/{name}/{picture}/{clients}")
        return record["load"]["rate_per_s"] if record else None

    def ratio(self, name: str, other: str) -> float | None:
        """Return one contender's throughput over another's."""
        mine, theirs = self.rate_per_s(name), self.rate_per_s(other)
        return mine / theirs if mine is not None and theirs else None

    def best_rival(self) -> str | None:
        """Return the faster of those that come near."""
        rates = {name: self.rate_per_s(name) for name in RIVALS}
        known = {name: rate for name, rate in rates.items() if rate is not None}
        return max(known, key=lambda name: known[name]) if known else None

    def cpu_ms(self, name: str, role: str) -> float | None:
        """
        Return CPU milliseconds a request in the rounds, median.

        Args:
            name: A contender that is a server.
            role: One of `resources.ROLES`, or server, or client.
        """
        return median(
            [cpu_ms_of(one, role) for one in self.records(f"rounds/{name}/") if "cpu" in one]
        )

    def stage_ms(self, stage: str) -> float | None:
        """Return CPU milliseconds a picture of a stage, without a server; median."""
        found = self.records(f"rounds/{LIMIT}/")
        return median([record["stages_cpu_s"][stage] * 1000 for record in found])

    def stages_ms(self) -> float | None:
        """Return all stages of a picture together."""
        return total([self.stage_ms(stage) for stage in STAGES])

    def overhead_ms(self) -> float | None:
        """Return our CPU milliseconds a request beyond decode and graph."""
        server, stages = self.cpu_ms(OURS, "server"), self.stages_ms()
        return server - stages if server is not None and stages is not None else None

    def steady(self, of: Callable[[Record], float]) -> float | None:
        """Return the median of a figure over the runs at 100 requests a second."""
        return median([of(record) for record in self.records(f"steady/{OURS}/")])

    def steady_latency_ms(self, name: str) -> float | None:
        """Return a latency at 100 requests a second: mean_ms, p95_ms, p99_ms."""
        return self.steady(lambda record: record["load"]["latency"][name])

    def steady_cpu_share(self) -> float | None:
        """Return the share of all usable cores at 100 requests a second."""
        cores = self.results.facts["machine"]["usable_cores"]
        return self.steady(lambda one: one["cpu"]["server_s"] / one["cpu"]["elapsed_s"] / cores)

    def steady_error_share(self) -> float | None:
        """Return which share of all requests at 100 a second was not answered 200."""
        found = self.records(f"steady/{OURS}/")
        asked = sum(sum(one["load"]["statuses"].values()) for one in found)
        return sum(errors_of(one["load"]) for one in found) / asked if asked else None

    def overload(self, of: Callable[[Record], float | None]) -> float | None:
        """Return a figure of the overload."""
        record = self.record(f"overload/{OURS}")
        return of(record) if record else None

    def memory(self, name: str) -> float | None:
        """Return a figure of our memory: total_pss_bytes, growth, served."""
        record = self.record(f"memory/{OURS}")
        return record[name] if record else None

    def cold_start_s(self) -> float | None:
        """Return our median time from the process start to the first score."""
        return median([one["startup_s"] for one in self.records(f"cold_start/{OURS}/")])

    def large_picture_cost(self, clients: int = 8) -> float | None:
        """Return the server's CPU time for a 12-megapixel JPEG over that for the small one."""
        large = self.record(f"{LARGE}/{clients}")
        small = self.cpu_ms(OURS, "server")
        return cpu_ms_of(large, "server") / small if large and small else None


def cpu_ms_of(record: Record, role: str) -> float:
    """Return CPU milliseconds a reply of a closed-loop record; see `Figures.cpu_ms`."""
    load, cpu = record["load"], record["cpu"]
    seconds = {"server": cpu["server_s"], "client": load["client_cpu_s"], **cpu["by_role_s"]}[role]
    return float(seconds) / max(load["scored"], 1) * 1000


def errors_of(load: Record) -> int:
    """Return how many requests of an open-loop record were not answered 200."""
    return sum(n for status, n in load["statuses"].items() if status != "200")


def median(values: list[float]) -> float | None:
    """Return the median, or None of nothing."""
    return statistics.median(values) if values else None


def total(values: list[float | None]) -> float | None:
    """Return the sum, or None if one is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
