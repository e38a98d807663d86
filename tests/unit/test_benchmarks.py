"""The benchmark measures what it says: the load generators, the plan, the figures, the report."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from PIL import Image

from benchmarks import bench, pictures, plan, plots, report, resources, results, rivalry, soak
from benchmarks.figures import Figures
from benchmarks.load import Latency, Request, closed_loop, latency_of, percentile
from benchmarks.open_loop import NO_REPLY, Phase, open_loop, summarise
from benchmarks.overload import recovery_s, windows_of
from benchmarks.plan import LIMIT, OURS, Step
from benchmarks.results import Results
from benchmarks.targets import UNMEASURED, Target, targets

BODY = b"x" * 63_000

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


class TinyServer:
    """
    An HTTP server that answers one request at a time.

    Args:
        service_s: How long each takes.
        stall: Number of the request that takes `stall_s` instead.
        capacity: More than so many waiting are refused with 503.
        framing: How a reply says its end: length, chunked or close.
        idle_closes: Close each connection after its first reply, without saying so.
    """

    def __init__(
        self,
        service_s: float = 0.0,
        stall: int = -1,
        stall_s: float = 0.0,
        capacity: int = 10_000,
        framing: str = "length",
        idle_closes: bool = False,
    ) -> None:
        self.service_s, self.stall, self.stall_s = service_s, stall, stall_s
        self.capacity, self.framing, self.idle_closes = capacity, framing, idle_closes
        self.received: list[bytes] = []
        self.url = ""
        self._waiting = 0

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                self.received.append(head + await reader.readexactly(length))
                await self._answer(writer, len(self.received) - 1)
                if self.framing == "close" or self.idle_closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, number: int) -> None:
        if self._waiting >= self.capacity:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return
        self._waiting += 1
        async with self._turn:
            await asyncio.sleep(self.stall_s if number == self.stall else self.service_s)
        self._waiting -= 1
        heads = {
            "length": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        }
        writer.write(heads[self.framing])

    @contextmanager
    def running(self) -> Iterator[TinyServer]:
        """Serve from a thread of its own."""
        loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        server = loop.run_until_complete(asyncio.start_server(self._handle, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/score?a=b"
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.01))
            server.close()
            loop.close()

    def request(self) -> Request:
        """Return a request to it."""
        return Request(url=self.url, body=BODY, headers={"Content-Type": "image/jpeg"})


def run_open(server: TinyServer, rate_per_s: float, seconds: float, timeout_s: float = 5) -> Any:
    """Load a server at a constant rate; return the summary."""
    phase = Phase(rate_per_s=rate_per_s, seconds=seconds)
    sendings, cpu_s = open_loop(server.request(), [phase], timeout_s)
    return summarise(sendings, phase, client_cpu_s=cpu_s)


def one_waiting_client(server: TinyServer, requests: int) -> Latency:
    """Send the next request when the last is answered, as most clients do."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    latencies_s = []
    for _ in range(requests):
        started_s = time.monotonic()
        connection.request("POST", address.path, BODY)
        connection.getresponse().read()
        latencies_s.append(time.monotonic() - started_s)
    connection.close()
    return latency_of(latencies_s)


def test_the_open_loop_shows_the_queue_that_a_closed_loop_hides() -> None:
    """After a stall of half a second, requests that were due meanwhile waited, and it says so."""
    with TinyServer(service_s=0.001, stall=20, stall_s=0.5).running() as server:
        closed = one_waiting_client(server, requests=100)
    with TinyServer(service_s=0.001, stall=20, stall_s=0.5).running() as server:
        opened = run_open(server, rate_per_s=100, seconds=1)
    assert opened.statuses == {"200": 100}
    # From the waiting client's side one in a hundred met the stall: its p95 knows nothing of it.
    assert closed.p95_ms < 50 < closed.max_ms
    # Half of the second's requests were due during the stall.
    assert opened.latency.p95_ms > 350
    assert opened.latency.p50_ms < opened.latency.p95_ms


def test_the_open_loop_keeps_its_rate_when_the_server_is_too_slow() -> None:
    """Offered twice what a server does, the last request waits about half of the run."""
    with TinyServer(service_s=0.02).running() as server:
        load = run_open(server, rate_per_s=100, seconds=1)
    assert load.statuses == {"200": 100}
    assert load.latency.max_ms > 700
    assert load.lag.p99_ms < 100


def test_refusals_are_counted_and_timed_apart() -> None:
    """What is refused at once does not make the accepted look fast."""
    with TinyServer(service_s=0.05, capacity=3).running() as server:
        load = run_open(server, rate_per_s=100, seconds=0.8)
    assert set(load.statuses) == {"200", "503"}
    assert load.latency.n == load.statuses["200"]
    assert load.refusal_latency.n == load.statuses["503"]
    assert load.latency.p50_ms > 50 > load.refusal_latency.p50_ms
    assert load.refused_within_50_ms > 0.9


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_the_open_loop_reads_every_kind_of_reply(framing: str) -> None:
    """A reply may end by its length, its last chunk, or with the connection."""
    with TinyServer(framing=framing).running() as server:
        load = run_open(server, rate_per_s=50, seconds=0.2)
    assert load.statuses == {"200": 10}
    assert server.received[0].startswith(b"POST /score?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: image/jpeg\r\n" in server.received[0]
    assert server.received[0].endswith(BODY)


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    """Servers may close what is idle; that is no error."""
    with TinyServer(idle_closes=True).running() as server:
        load = run_open(server, rate_per_s=50, seconds=0.4)
    assert load.statuses == {"200": 20}


def test_no_server_and_no_reply_are_errors() -> None:
    """Both are counted, and neither stops the run."""
    nowhere = Request(url="http://127.0.0.1:9/", body=b"", headers={})
    phase = Phase(rate_per_s=20, seconds=0.2)
    sendings, _ = open_loop(nowhere, [phase], timeout_s=1)
    assert [one.status for one in sendings] == [NO_REPLY] * 4
    with TinyServer(service_s=30).running() as server:
        load = run_open(server, rate_per_s=20, seconds=0.2, timeout_s=0.3)
    assert load.statuses == {"0": 4}


def test_phases_follow_each_other_and_are_summarised_apart() -> None:
    """Each request belongs to the phase in which it was due."""
    phases = [Phase(rate_per_s=20, seconds=0.5), Phase(rate_per_s=100, seconds=0.3)]
    with TinyServer().running() as server:
        sendings, _ = open_loop(server.request(), phases)
    counts = [
        summarise(sendings, phases[0]).latency.n,
        summarise(sendings, phases[1], began_s=0.5).latency.n,
    ]
    assert counts == [10, 30]


@needs_wrk
def test_wrk_says_what_was_scored_and_what_was_refused() -> None:
    """Throughput counts scores alone."""
    with TinyServer(service_s=0.01, capacity=2).running() as server:
        load = closed_loop(server.request(), 4, 1)
    assert server.received[0].endswith(BODY)
    assert load.refused > 0
    assert load.rate_per_s == pytest.approx(load.scored / load.elapsed_s)
    assert load.scored < 120
    assert 0 < load.client_cpu_s < 1.5
    assert load.latency.p50_ms <= load.latency.p99_ms <= load.latency.max_ms


@needs_wrk
def test_wrk_against_nothing_is_an_error() -> None:
    """A server that is not there gives no figures."""
    with pytest.raises(RuntimeError, match="wrk: expected a result"):
        closed_loop(Request(url="http://nowhere.invalid:1/", body=b"", headers={}), 1, 1)


def test_percentiles_are_values_that_occurred() -> None:
    """The smallest value that so many percent do not exceed; by hand for 1..20 and for one."""
    values = [float(i) for i in range(1, 21)]
    assert [percentile(values, p) for p in (5, 50, 95, 99, 100)] == [1, 10, 19, 20, 20]
    assert percentile([7.0], 50) == 7.0
    latency = latency_of([0.003, 0.001, 0.002])
    assert (latency.n, latency.mean_ms, latency.max_ms) == (3, 2.0, 3.0)
    assert (latency.p50_ms, latency.p99_ms) == (2.0, 3.0)
    assert latency_of([]) == Latency(n=0, mean_ms=0, p50_ms=0, p95_ms=0, p99_ms=0, max_ms=0)


def test_recovery_is_the_first_window_that_is_normal() -> None:
    """Neither a refusal nor a slow window counts as recovered."""
    windows = [
        {"ends_s": 0.2, "failed": 3, "p50_ms": 5.0},
        {"ends_s": 0.4, "failed": 0, "p50_ms": 90.0},
        {"ends_s": 0.6, "failed": 0, "p50_ms": 9.0},
    ]
    assert recovery_s(windows, normal_ms=10.0) == 0.6
    assert recovery_s(windows, normal_ms=1.0) is None
    with TinyServer().running() as server:
        sendings, _ = open_loop(server.request(), [Phase(rate_per_s=50, seconds=0.4)])
    assert [window["failed"] for window in windows_of(sendings, 0.0, 0.4)] == [0, 0]


@pytest.mark.parametrize("name", ["0.2MP.jpg", "2MP.jpg", "2MP.png"])
def test_pictures_have_their_size_and_are_the_same_each_time(name: str) -> None:
    """Made twice, a picture has the same bytes, its format and its pixels."""
    content = pictures.make(name)
    assert content == pictures.make(name)
    size = pictures.SIZES[name]
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (size.width, size.height)
        assert image.format == ("PNG" if name.endswith("png") else "JPEG")


def test_pictures_compress_like_photographs(tmp_path: Path) -> None:
    """63 kB for the small one, 1.3 to 3 MB for 12 megapixels; kept once made."""
    assert abs(len(pictures.make("0.2MP.jpg")) - 63_000) < 4_000
    assert 1.3e6 < len(pictures.stored("12MP.jpg", tmp_path)) < 3e6
    written = (tmp_path / "12MP.jpg").stat().st_mtime_ns
    pictures.stored("12MP.jpg", tmp_path)
    assert (tmp_path / "12MP.jpg").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="picture: expected one of"):
        pictures.make("3MP.jpg")


def test_the_plans_fit_into_their_time() -> None:
    """35 minutes and two; every step has a name of its own and a way to measure it."""
    from benchmarks import contenders, measures

    for chosen, minutes in ((plan.full(), 35), (plan.quick(), 2.1)):
        assert chosen.expected_s() <= minutes * 60
        keys = [step.key for step in chosen.steps]
        assert len(set(keys)) == len(keys)
        for step in chosen.steps:
            assert step.kind in {**measures.MEASURES, **measures.ALONE}
            assert step.contender in contenders.CONTENDERS
            assert step.picture in pictures.SIZES
    done = frozenset(step.key for step in plan.full().steps)
    assert plan.full().expected_s(done) == 0
    assert {step.contender for step in plan.full().steps} == set(contenders.CONTENDERS)


def test_rates_in_percent_of_the_limit_come_after_the_limit() -> None:
    """Whatever an open-loop step needs was measured before it."""
    for chosen in (plan.full(), plan.quick()):
        kinds = [step.kind for step in chosen.steps]
        assert kinds.index("limit") < kinds.index("open")


def test_cpu_time_is_the_childrens_too() -> None:
    """A child that worked and ended counts with its parent."""
    meter = resources.CpuMeter(lambda: [psutil.Process()])
    pid = os.fork()
    if pid == 0:
        sum(i * i for i in range(3_000_000))
        os._exit(0)
    os.waitpid(pid, 0)
    use = meter.stop(client_s=0.0)
    assert use.server_s > 0.03
    assert use.by_role_s["other"] == pytest.approx(use.server_s)
    assert use.strangers_s >= 0


def test_footprint_counts_memory_threads_and_descriptors() -> None:
    """Sixty megabytes more are seen as some sixty more, in a process of its own."""
    program = (
        "import sys; print(flush=True); sys.stdin.readline(); held = b'x' * 60_000_000;"
        "print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        process = [psutil.Process(child.pid)]
        child.stdout.readline()
        before = resources.footprint(process)
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        after = resources.footprint(process)
        print(file=child.stdin, flush=True)
    assert 55e6 < after.total_pss_bytes - before.total_pss_bytes < 70e6
    assert (after.processes, after.threads > 0, after.descriptors > 0) == (1, True, True)


def test_results_survive_an_interruption(tmp_path: Path) -> None:
    """Measured steps are there, failed ones are tried again, another plan is refused."""
    facts = {"plan": "full", "archive": {"sha256": "a"}}
    path = tmp_path / "results.json"
    first = Results.open(path, facts, resume=False)
    first.add(Step(kind="closed", key="a", contender=OURS, run_s=1), {"value": 1})
    first.add(Step(kind="closed", key="b", contender=OURS, run_s=1), {"error": "ValueError: no"})
    again = Results.open(path, facts, resume=True)
    assert again.has("a") and not again.has("b")
    with pytest.raises(ValueError, match="Run without --resume"):
        Results.open(path, {**facts, "plan": "quick"}, resume=True)
    Results.open(path, facts, resume=False)
    assert path.with_suffix(".previous.json").exists()
    with pytest.raises(FileNotFoundError, match="make bench"):
        Results.open(path, facts, resume=True)


def closed_record(key: str, rate_per_s: float, p99_ms: float = 90.0, worker_s: float = 10.0) -> Any:
    """Return a closed-loop record of 8 seconds."""
    _, contender, *_ = key.split("/")
    scored = round(rate_per_s * 8)
    return {
        "step": {"contender": contender, "percent_of_limit": 0},
        "load": {
            "rate_per_s": rate_per_s, "scored": scored, "refused": 0, "timeouts": 0,
            "socket_errors": 0, "client_cpu_s": 0.5,
            "latency": {"p50_ms": 40.0, "p99_ms": p99_ms},
        },
        "cpu": {
            "elapsed_s": 8.0, "server_s": worker_s + 1, "strangers_s": 0.1,
            "by_role_s": {"jvm": 1.0, "worker": worker_s, "other": 0.0},
        },
        "footprint": {"total_pss_bytes": 900e6, "processes": 3, "threads": 30},
    }  # fmt: skip


def open_record(contender: str, percent: int, rate_per_s: float, p99_ms: float) -> Any:
    """Return an open-loop record."""
    latency = {"n": 1000, "mean_ms": 12.0, "p50_ms": 10.0, "p95_ms": 30.0, "p99_ms": p99_ms}
    return {
        "step": {"contender": contender, "percent_of_limit": percent},
        "load": {
            "offered_per_s": rate_per_s, "statuses": {"200": 1000}, "latency": latency,
            "lag": {"p99_ms": 1.0}, "is_client_slow": False,
        },
        "cpu": {"elapsed_s": 10.0, "server_s": 11.0, "strangers_s": 2.0},
    }  # fmt: skip


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Results in which we do 200 scores a second, the limit 240, LitServe 190."""
    steps: dict[str, Any] = {}
    for i, rate in enumerate((198.0, 200.0, 230.0)):
        steps[f"rounds/{OURS}/{i}"] = closed_record(f"rounds/{OURS}/{i}", rate)
        steps[f"rounds/litserve/{i}"] = closed_record("rounds/litserve", 190.0)
        steps[f"rounds/fastapi_eager/{i}"] = closed_record("rounds/fastapi_eager", 20.0)
        steps[f"rounds/{LIMIT}/{i}"] = {
            "step": {"contender": LIMIT},
            "pictures_per_s": 240.0,
            "stages_cpu_s": {"decode": 0.0008, "preprocess": 0.0001, "graph": 0.0051},
        }
    for name, rate, p99_ms in ((OURS, 100.0, 80.0), ("litserve", 110.0, 70.0)):
        key = f"closed/{name}/0.2MP.jpg/1"
        steps[key] = closed_record(key, rate, p99_ms)
    for name, p99_ms in ((OURS, 50.0), ("litserve", 60.0)):
        steps[f"open/{name}/50"] = open_record(name, 50, 120.0, p99_ms)
    steps[f"steady/{OURS}/0"] = open_record(OURS, 0, 100.0, 60.0)
    steps[f"cold_start/{OURS}/0"] = {"step": {"contender": OURS}, "startup_s": 2.9}
    steps[f"memory/{OURS}"] = {"error": "RuntimeError: memory: it ended"}
    document = {
        "format": results.FORMAT,
        "facts": {
            "plan": "full",
            "archive": {"name": "iqa-1.mar", "bytes": 9e6, "sha256": "a" * 64, "precision": "bf16"},
            "machine": {
                "processor": "made up", "flags": ["avx2"], "usable_cores": 2,
                "memory_bytes": 8e9, "system": "Linux",
            },
            "versions": {
                "commit": "c", "python": "3.11", "java": "17", "wrk": "4.1",
                "ours": {"torch": "2"}, "peers": {"litserve": "0.2"},
            },
        },
        "started_at": "2026-01-01T00:00:00", "finished_at": "", "steps": steps,
        "servers": {
            OURS: {"startup_s": 3.0}, "litserve": {"startup_s": 2.0},
        },
        "pictures": {"0.2MP.jpg": 63000}, "not_started": {"bentoml": "no such package\nat all"},
    }  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))
    return path


def test_figures_are_medians_and_ratios(made_up: Path) -> None:
    """By hand: 200 / 240, 200 / 190, and 6.875 - 6.0 ms of CPU beyond decode and graph."""
    figures = Figures(results=Results.read(made_up))
    assert figures.rate_per_s(OURS) == 200.0
    assert figures.ratio(OURS, LIMIT) == pytest.approx(200 / 240)
    assert figures.best_rival() == "litserve"
    assert figures.stages_ms() == pytest.approx(6.0)
    assert figures.cpu_ms(OURS, "server") == pytest.approx(11 / 1600 * 1000)
    assert figures.overhead_ms() == pytest.approx(0.875)
    assert figures.steady_cpu_share() == pytest.approx(0.55)
    assert figures.memory("growth") is None


def test_targets_say_what_was_reached_and_by_how_much_not(made_up: Path) -> None:
    """Each of the two bounds, both directions, and what was not measured."""
    verdicts = {
        target.figure: target.verdict()
        for target in targets(Figures(results=Results.read(made_up)))
    }
    assert verdicts["throughput at 16 clients, share of the limit"] == "reached"
    assert verdicts["process start to the first score"] == "aim reached"
    assert verdicts["its growth in the last half"] == UNMEASURED
    assert verdicts["100 requests/s, open loop: errors"] == "aim reached"
    assert Target(figure="", measured=1.0, must=2.0, is_floor=True).verdict() == "missed by 50%"
    assert Target(figure="", measured=3.0, must=2.0, aim=1.0).verdict() == "missed by 50%"
    assert Target(figure="", measured=0.123, must=1, unit="%", digits=0).says(0.123) == "12 %"


def test_where_a_peer_wins_is_computed(made_up: Path) -> None:
    """LitServe is ahead with one client and at its start, and nowhere else."""
    told = rivalry.peer_wins(Figures(results=Results.read(made_up))).splitlines()
    assert [line.split(":")[0] for line in told] == [
        "- scores/s, 0.2MP.jpg, 1 clients",
        "- p99 ms, 0.2MP.jpg, 1 clients",
        "- seconds to the first score",
    ]
    assert "110, ours 100 (10% better)" in told[0]


def test_the_report_is_a_page_with_two_plots(made_up: Path, tmp_path: Path) -> None:
    """It names machine, ratios and what failed; the same results give the same files."""
    out = tmp_path / "report"
    assert report.main(["--results", str(made_up), "--out", str(out)]) == 0
    page = (out / "results.md").read_text()
    assert "made up (avx2), 2 usable cores" in page
    assert "| iqa (this project) | 200.0 | 198.0 to 230.0 | 0.83 | 1.00 |" in page
    assert "`bentoml` did not start: no such package\n" in page
    assert f"`memory/{OURS}` failed: RuntimeError" in page
    assert "`open/iqa/50` 10%" in page  # strangers
    assert str(tmp_path) not in page
    first = [(out / name).read_bytes() for name in ("throughput.svg", "latency.svg")]
    report.main(["--results", str(made_up), "--out", str(out)])
    assert first == [(out / name).read_bytes() for name in ("throughput.svg", "latency.svg")]


def test_memory_may_come_from_an_hour_of_load(made_up: Path, tmp_path: Path) -> None:
    """At 100,000 requests, without the side-car, growth over the last half."""
    samples = [
        {"at_s": 10.0 * i, "pss_bytes": {"jvm": 400e6, "worker": 300e6 + 1e5 * i, "side-car": 9e9}}
        for i in range(1, 361)
    ]
    document = {"rate_per_s": 60.0, "minutes": [{}] * 60, "samples": samples}
    path = tmp_path / "soak.json"
    path.write_text(json.dumps(document))
    out = tmp_path / "report"
    words = ["--results", str(made_up), "--out", str(out), "--soak", str(path)]
    assert report.main(words) == 0
    page = (out / "results.md").read_text()
    # The 167th reading is the first after 100,000 requests: 700 MB and 16.7.
    assert "Ours after 100,200 requests: 717 MB (jvm 400 MB, worker 317 MB); in" in page
    # Medians of readings 181 to 216 and 325 to 360: 719.85 and 734.25 MB.
    told = "in 60 minutes at a constant rate, apart, through the front; growth in the last half"
    assert f"{told} +2.00%" in page
    path.write_text(json.dumps({**document, "samples": samples[:100]}))
    assert report.main(words) == 1


def test_a_report_of_hardly_anything_says_so(made_up: Path, tmp_path: Path) -> None:
    """No measurement, no number."""
    document = json.loads(made_up.read_text())
    made_up.write_text(json.dumps({**document, "steps": {}, "servers": {}}))
    assert report.main(["--results", str(made_up), "--out", str(tmp_path)]) == 0
    assert "Not measured." in (tmp_path / "results.md").read_text()
    assert report.main(["--results", str(tmp_path / "none.json")]) == 1


def test_growth_compares_the_ends_of_the_last_half(tmp_path: Path) -> None:
    """What rose before the half is no growth; what rises after it is."""
    assert soak.growth([1.0] * 50 + [2.0] * 50) == 0.0
    assert soak.growth([1.0] * 50 + [float(100 + i) for i in range(50)]) == pytest.approx(
        144.5 / 104.5 - 1
    )
    assert soak.growth([5.0]) == 0.0


def test_the_soak_watches_and_draws(tmp_path: Path) -> None:
    """Readings are taken while it is entered; the plot is drawn from them."""

    class Server:
        def processes(self) -> list[psutil.Process]:
            return [psutil.Process()]

    samples: list[dict[str, Any]] = []
    # A stand-in for Running, of which only this one method is asked.
    watch = soak.Watch(Server(), samples, every_s=0.02)  # type: ignore[arg-type]
    with watch, TinyServer().running() as server:
        minute = soak._one_minute(server.request(), rate_per_s=50, seconds=0.3)
    assert minute["statuses"] == {"200": 15}
    assert samples and samples[0]["by_process"].keys() == {str(os.getpid())}
    plots.plot_soak({"samples": samples, "minutes": [minute]}, tmp_path / "soak.svg")
    assert (tmp_path / "soak.svg").stat().st_size > 1000


@pytest.mark.parametrize("command", [bench, report, soak])
def test_every_command_explains_itself(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and names the command."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert f"python -m {command.__name__}" in capsys.readouterr().out
