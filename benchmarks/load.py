"""
Closed loop: each client sends its next request when it has the reply to its last (wrk).

It shows what a server can do. What users meet while it is busy it hides, because clients that wait
send nothing: for latency there is the open loop, `open_loop.py`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 20  # wrk's own 2 s would count a slow peer's replies as errors

# The request is made once and sent as it is: Lua costs nothing while it runs. wrk keeps every
# latency to the microsecond, so the percentiles are exact. To each reply that took more than twice
# the mean it adds those that its client would have met had it gone on sending (stats_correct in
# wrk.c): that raises the percentiles of a server that stalls, and lowers nothing.
SCRIPT: Final = """
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
end
function done(summary, latency, requests)
  local function ms(value) return string.format("%.4f", value / 1000) end
  local e = summary.errors
  io.write(string.format(
    '\\n{"replies": %d, "elapsed_us": %d, "refused": %d, "timeouts": %d, "socket_errors": %d, ' ..
    '"mean_ms": %s, "p50_ms": %s, "p95_ms": %s, "p99_ms": %s, "max_ms": %s}\\n',
    summary.requests, summary.duration, e.status, e.timeout, e.connect + e.read + e.write,
    ms(latency.mean), ms(latency:percentile(50)), ms(latency:percentile(95)),
    ms(latency:percentile(99)), ms(latency.max)))
end
"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent, the same each time: a POST of `body` to `url` with `headers`."""

    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Exact figures of a list of latencies, milliseconds; NaN-free: zeros where n is 0."""

    n: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, kw_only=True)
class ClosedLoad:
    """
    One closed-loop run.

    Attributes:
        clients: Connections that always have a request on its way.
        elapsed_s: As wrk measured it.
        scored: Replies below 400.
        refused: Replies of 400 and above.
        timeouts: Replies that took longer than `TIMEOUT_S`; they are among `scored` as well.
        socket_errors: Connections that failed to connect, read or write.
        rate_per_s: `scored` over `elapsed_s`.
        latency: Latency of all replies.
        client_cpu_s: wrk's own CPU time.
    """

    clients: int
    elapsed_s: float
    scored: int
    refused: int
    timeouts: int
    socket_errors: int
    rate_per_s: float
    latency: Latency
    client_cpu_s: float


def closed_loop(request: Request, clients: int, seconds: int) -> ClosedLoad:
    """
    Send a request over and over from a number of clients.

    Args:
        request: What.
        clients: How many at once, at least 1.
        seconds: How long, at least 1; requests under way at the end are given up.

    Raises:
        FileNotFoundError: wrk is not installed.
        RuntimeError: wrk could not reach the server.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk: expected it on PATH, found none. Install it (Debian: wrk).")
    with tempfile.TemporaryDirectory() as directory:
        body, script = Path(directory, "body"), Path(directory, "script.lua")
        body.write_bytes(request.body)
        script.write_text(SCRIPT)
        headers = [f"-H{name}: {value}" for name, value in request.headers.items()]
        command = [
            wrk, "-t1", f"-c{clients}", f"-d{seconds}s", f"--timeout={TIMEOUT_S}s",
            f"-s{script}", *headers, request.url, "--", str(body),
        ]  # fmt: skip
        said, status, cpu_s = _run(command, Path(directory, "said"))
    lines = said.strip().splitlines()
    if status != 0 or not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"wrk: expected a result, got {lines[-1:] or 'nothing'}.")
    told = json.loads(lines[-1])
    elapsed_s = told["elapsed_us"] / 1e6
    scored = told["replies"] - told["refused"]
    return ClosedLoad(
        clients=clients,
        elapsed_s=elapsed_s,
        scored=scored,
        refused=told["refused"],
        timeouts=told["timeouts"],
        socket_errors=told["socket_errors"],
        rate_per_s=scored / elapsed_s,
        latency=Latency(
            n=told["replies"],
            **{key: told[key] for key in ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")},
        ),
        client_cpu_s=cpu_s,
    )


def latency_of(latencies_s: Sequence[float]) -> Latency:
    """Summarise latencies given in seconds."""
    ordered = sorted(latencies_s)
    if not ordered:
        return Latency(n=0, mean_ms=0.0, p50_ms=0.0, p95_ms=0.0, p99_ms=0.0, max_ms=0.0)
    return Latency(
        n=len(ordered),
        mean_ms=math.fsum(ordered) / len(ordered) * 1000,
        p50_ms=percentile(ordered, 50) * 1000,
        p95_ms=percentile(ordered, 95) * 1000,
        p99_ms=percentile(ordered, 99) * 1000,
        max_ms=ordered[-1] * 1000,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """
    Return the smallest value that at least `percent` of all values do not exceed.

    A value that occurred, not one between two: no tail is averaged away.

    Args:
        ordered: Ascending, not empty.
        percent: In (0, 100].
    """
    # Rounded first: 0.95 * 20 is a hair above 19.
    return ordered[max(math.ceil(round(percent / 100 * len(ordered), 6)), 1) - 1]


def _run(command: list[str], output: Path) -> tuple[str, int, float]:
    """Run a command; return what it printed, its exit status and its CPU seconds."""
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            # wait4 and not wait: the CPU time of this child alone.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    return output.read_text(), process.returncode, usage.ru_utime + usage.ru_stime
