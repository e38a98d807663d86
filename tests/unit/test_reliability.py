"""The arithmetic of the reliability measurements: outcomes, recovery, ratios; and their pages."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.load import Request
from benchmarks.open_loop import NO_REPLY, Phase, Sending, open_loop
from benchmarks.reliability import (
    clock,
    fault_runs,
    outcomes,
    plots,
    report,
    small_disk,
    swaps,
    tables,
)
from benchmarks.reliability.__main__ import main
from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.steady_load import SteadyLoad


def sending(
    due_s: float, status: int = 200, reply: Any = None, took_s: float = 0.02, **more: Any
) -> Sending:
    """Return one request that was answered."""
    document = {"score": 1.0, "model": {"name": "iqa", "version": "1"}} if reply is None else reply
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Sending(due_s, due_s, due_s + took_s, status, reply=body, **more)


def scored(begin_s: float, end_s: float, per_s: float = 60, **more: Any) -> list[Sending]:
    """Return scored requests at a constant rate."""
    count = round((end_s - begin_s) * per_s)
    return [sending(begin_s + i / per_s, **more) for i in range(count)]


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (sending(0), "scored"),
        (sending(0, 503, {"code": 503, "reason": "overloaded", "message": "m"}), "refused"),
        (sending(0, 503, {"message": 'Model "iqa" has no worker to serve inference'}), "refused"),
        (sending(0, 503, {"code": 503, "message": "Prediction failed"}), "failed"),
        (sending(0, 503, b"<html>no reason</html>"), "failed"),
        (sending(0, 503, [1]), "failed"),
        (sending(0, 500, {"message": "Worker died."}), "failed"),
        (sending(0, 500, {"reason": "internal", "message": "m"}), "failed"),
        (sending(0, 413, {"reason": "too_many_bytes", "message": "m"}), "failed"),
        (sending(0, NO_REPLY, b""), "lost"),
        (sending(0, NO_REPLY, b"", is_repeated=True), "lost"),
        (sending(0, NO_REPLY, b"", is_unaccepted=True), "unaccepted"),
        (sending(0, NO_REPLY, b"", is_unaccepted=True, is_repeated=True), "lost"),
    ],
)
def test_each_request_has_one_outcome(one: Sending, outcome: str) -> None:
    """Clean refusals are told from failures, and what nobody accepted from what was lost."""
    assert outcomes.outcome_of(one) == outcome
    counted = outcomes.tally([one])
    assert (counted.sent, getattr(counted, outcome)) == (1, 1)
    assert sum(getattr(counted, name) for name in outcomes.OUTCOMES) == 1


def test_reasons_say_what_came_instead_of_a_score() -> None:
    """Status and reason, or the words of the message, counted."""
    found = outcomes.reasons(
        [
            sending(0),
            sending(1, 503, {"reason": "overloaded", "message": "long"}),
            sending(2, 503, {"reason": "overloaded", "message": "other"}),
            sending(3, 500, {"message": "Worker died."}),
            sending(4, 500, b"plain"),
            sending(5, NO_REPLY, b""),
        ]
    )
    assert found == {"503 overloaded": 2, "500 Worker died.": 1, "500 plain": 1, "lost": 1}


def test_recovery_ends_with_the_last_disturbance() -> None:
    """Failures and slow medians count, in whichever order they come; calm is 0."""
    calm = scored(0, 3)
    assert outcomes.back_s(outcomes.windows(calm, (0.0, 3.0)), slow_ms=250) == 0.0
    failed = [*calm, sending(1.3, 500, {"message": "m"})]
    assert outcomes.back_s(outcomes.windows(failed, (0.0, 3.0)), slow_ms=250) == 1.5
    slow = [*scored(0, 2), *scored(2, 2.5, took_s=0.4), *scored(2.5, 3)]
    assert outcomes.back_s(outcomes.windows(slow, (0.0, 3.0)), slow_ms=250) == 2.5
    one_slow = [*calm, sending(2.1, took_s=5.0)]  # a median does not see it, the p99 does
    assert outcomes.back_s(outcomes.windows(one_slow, (0.0, 3.0)), slow_ms=250) == 0.0


def test_windows_count_from_the_moment_of_the_fault() -> None:
    """What was due before it is in none; each outcome is counted where it was due."""
    found = outcomes.windows([*scored(0, 2, per_s=8), sending(1.6, NO_REPLY, b"")], (1.0, 2.0))
    assert [one["at_s"] for one in found] == [0.0, 0.25, 0.5, 0.75]
    assert [one["scored"] for one in found] == [2, 2, 2, 2]
    assert [one["lost"] for one in found] == [0, 0, 1, 0]


def test_the_ratio_compares_swaps_with_calm_and_leaves_the_time_after_out() -> None:
    """The p99 of requests due in swaps, over that of those due neither in one nor soon after."""
    sendings = [
        *scored(0, 10, took_s=0.05),
        *scored(10, 12, took_s=0.1),  # the swap
        *scored(12, 13, took_s=9.0),  # its queue empties
        *scored(13, 20, took_s=0.05),
    ]
    for one in sendings:
        if one.due_s >= 11:
            one.reply = one.reply.replace(b'"version": "1"', b'"version": "2"')
    marks = [{"version": "2", "began_s": 10.0, "ended_s": 12.0}]
    found = swaps.measured(sendings, marks)
    assert found["p99_ratio"] == pytest.approx(2.0)
    assert found["p99_ratio_of_a_swap"] == pytest.approx(2.0)
    assert found["calm"]["n"] == 17 * 60
    assert found["marks"][0]["first_s"] == pytest.approx(11.1)
    assert found["tally"]["scored"] == found["tally"]["sent"] == 1200
    shown = {one["at_s"]: one for one in found["around"]}
    assert shown[-0.25]["p99_ms"] == pytest.approx(50)
    assert shown[1.75]["p99_ms"] == pytest.approx(100)
    assert shown[1.75]["n"] == 30


def test_a_fault_is_measured_from_what_was_normal_before_it() -> None:
    """Counts of the whole run, the tail since the fault, and when all was as before."""
    refusal = {"reason": "unavailable", "message": "m"}
    sendings = [
        *scored(0, 4),
        *[sending(4 + i / 60, 503, refusal) for i in range(60)],
        *scored(5, 6, took_s=0.3),
        *scored(6, 14),
    ]
    found = fault_runs.measured(sendings, injected_s=4.0, ended_s=14.0)
    assert (found["tally"]["sent"], found["tally"]["refused"]) == (14 * 60, 60)
    assert found["back_s"] == 2.0
    assert found["before"]["p50_ms"] == pytest.approx(20)
    assert len(found["windows"]) == (4 + 10) * 4


class OneVersion(http.server.BaseHTTPRequestHandler):
    """Answers each picture at once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Score it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"score": 5.0, "model": {"name": "iqa", "version": "7"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Counted(OneVersion):
    """Lets a test wait for a number of answers, however slow the machine is."""

    answered = threading.Semaphore(0)

    def do_POST(self) -> None:
        """Score it, and count."""
        super().do_POST()
        self.answered.release()


class CutShort(OneVersion):
    """Says it scored, and ends in the middle of saying how."""

    def do_POST(self) -> None:
        """Begin an answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"score"')
        self.close_connection = True


@contextmanager
def answering(handler: type[OneVersion]) -> Iterator[Request]:
    """Run a server; yields a request for it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Request(url=f"http://127.0.0.1:{server.server_port}/", body=b"picture", headers={})
        server.shutdown()


def test_the_load_runs_beside_this_process_until_it_is_ended() -> None:
    """A constant rate, every reply kept, a clock that both sides share."""
    with answering(Counted) as request, SteadyLoad(request, rate_per_s=50) as load:
        for _ in range(25):
            assert Counted.answered.acquire(timeout=30)
        ended_s = load.now_s()
        sendings = load.end()
    assert outcomes.tally(sendings).scored == len(sendings)
    assert 25 <= len(sendings) <= 50 * ended_s + 3
    assert [one.due_s for one in sendings] == pytest.approx(
        [number / 50 for number in range(len(sendings))]
    )
    assert {outcomes.version_of(one) for one in sendings} == {"7"}
    first_s = outcomes.first_scored_s(sendings, "7", 0.2)
    assert first_s is not None
    assert 0.2 <= first_s <= ended_s
    assert outcomes.first_scored_s(sendings, "8", 0.0) is None


def test_a_score_that_was_cut_short_is_lost() -> None:
    """A 200 whose body did not come as a whole is no answer."""
    with answering(CutShort) as request:
        sendings, _ = open_loop(request, [Phase(rate_per_s=20, seconds=0.2)], 2, keeps_replies=True)
    assert [outcomes.outcome_of(one) for one in sendings] == ["lost"] * 4


def test_nobody_on_the_port_is_no_loss() -> None:
    """A connection that is not accepted is told apart: another replica would be asked."""
    nowhere = Request(url="http://127.0.0.1:9/", body=b"", headers={})
    sendings, _ = open_loop(nowhere, [Phase(rate_per_s=20, seconds=0.2)], timeout_s=1)
    assert outcomes.tally(sendings).unaccepted == 4


def test_a_disk_is_filled_to_the_last_byte_and_freed(tmp_path: Path) -> None:
    """Where a tmpfs can be mounted; else its reason is said and the folder can be used."""
    with small_disk.small_disk(tmp_path / "disk", megabytes=1) as reason:
        if reason is None:
            assert small_disk.fill(tmp_path / "disk") >= 900_000
            with pytest.raises(OSError, match="No space left"):
                (tmp_path / "disk" / "more").write_bytes(b"x" * 4096)
            small_disk.free(tmp_path / "disk")
        else:
            assert reason.startswith("a tmpfs cannot be mounted here: ")
        (tmp_path / "disk" / "more").write_bytes(b"x" * 4096)


@pytest.mark.skipif(clock.why_not() is not None, reason="cc is not installed")
def test_a_clock_is_stepped_for_those_who_follow_it(tmp_path: Path) -> None:
    """Time of day and boot time move at once; the monotonic clock, and others, do not."""
    stepped = clock.Clock(tmp_path / "clock")
    program = (
        "import psutil, time\n"
        "while input():\n"
        "    print(time.time(), psutil.boot_time(), time.monotonic(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **stepped.environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for step_s in (0, 3600, -3600):
            stepped.step(step_s)
            process.stdin.write("now\n")
            process.stdin.flush()
            told = [float(word) for word in process.stdout.readline().split()]
            ahead_s = [told[0] - time.time(), told[1] - psutil.boot_time()]
            assert ahead_s == pytest.approx([step_s, step_s], abs=5)
            assert told[2] == pytest.approx(time.monotonic(), abs=5)
        process.kill()


def documents() -> dict[str, dict[str, Any]]:
    """Return what the runs would leave, small."""
    facts = {
        "measured_at": "2026-11-21 12:00",
        "machine": {
            "processor": "P", "usable_cores": 2, "memory_bytes": 8e9, "system": "Linux x86_64",
        },
        "versions": {"commit": "abc", "python": "3.11", "java": "17", "ours": {"torch": "2"}},
        "rate_per_s": 60.0,
        "is_fronted": True,
    }  # fmt: skip
    marks = [{"version": "1", "began_s": 5.0, "ended_s": 8.0}]
    series = {"series": "standby", "by": "side-car", **swaps.measured(scored(0, 20), marks)}
    tally = series["tally"]
    rollback = {"first_score_s": 1.25, "command_s": 3.0, "tally": tally, "is_right": True}
    run = {
        **fault_runs.measured(scored(0, 14), 4.0, 14.0),
        "is_right": True, "served": "1", "notes": {"stopped_s": 2.5, "left": []},
    }  # fmt: skip
    fault = {"runs": [run, run]}
    skipped = {"runs": [], "skipped": "nmap is not installed"}
    return {
        "swaps": {**facts, "series": {"a": series}, "rollbacks": {"runs": [rollback] * 3}},
        "faults": {**facts, "faults": {"worker-killed": fault, "port-scan": skipped}},
    }


def test_the_page_holds_every_figure_and_says_what_was_not_measured(tmp_path: Path) -> None:
    """Tables and plots from the documents; a fault that was skipped has its reason."""
    for name, document in documents().items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    assert report.write(tmp_path, tmp_path / "page") == 0
    page = (tmp_path / "page" / "results.md").read_text()
    assert "| standby | side-car | 1 | 1200 | 0 | 0 | 20 / 20 | 20 / 20 | 1.00 | yes |" in page
    assert "| median | 1.25 | 3.0 |" in page
    assert "| worker killed | 2 | 1680 | 1680 | 0 | 0 | 0 | 0 | 0.0 (0.0) | 2 of 2 | yes |" in page
    assert "| port scan | nmap is not installed |" in page
    assert "`stopped_s` 2.5" in page
    assert (
        "| swaps, standby, by side-car: requests not scored | 0 | 0 of 1200, 1 swaps | yes |"
        in page
    )
    assert "| faults that end as wanted below | all | 1 of 1 | yes |" in page
    assert "| 5 s; 2 | nothing |" in page
    assert "## An hour of load\n\nNot measured." in page
    for name in ("swaps.svg", "faults.svg"):
        assert (tmp_path / "page" / name).stat().st_size > 1000
    with pytest.raises(FileNotFoundError, match=r"expected swaps\.json"):
        report.write(tmp_path / "page", tmp_path / "page")


def test_a_target_is_missed_by_a_lost_request_a_late_return_or_a_wrong_version() -> None:
    """A killed process may take what it held with it; nothing else may be lost."""
    run = documents()["faults"]["faults"]["worker-killed"]["runs"][0]

    def record(**change: Any) -> dict[str, Any]:
        return {"runs": [{**run, **change}]}

    lost = {"tally": {**run["tally"], "lost": 1}}
    assert tables.is_met_fault(FAULTS["worker-killed"], record(**lost))
    assert not tables.is_met_fault(FAULTS["mlflow-down"], record(**lost))
    more = {"tally": {**run["tally"], "lost": 1, "failed": 2}}
    assert not tables.is_met_fault(FAULTS["worker-killed"], record(**more))
    assert tables.is_met_fault(FAULTS["jvm-killed"], record(back_s=9.0))
    assert not tables.is_met_fault(FAULTS["worker-killed"], record(back_s=9.0))
    assert not tables.is_met_fault(FAULTS["mlflow-down"], record(is_right=False))
    assert tables.is_met_fault(FAULTS["sigterm"], record(back_s=None))
    assert not tables.is_met_fault(FAULTS["bad-mar"], {"runs": [{"error": "words"}]})
    assert not tables.is_met_fault(FAULTS["bad-mar"], {"runs": []})
    series = documents()["swaps"]["series"]["a"]
    assert tables.is_met_swaps(series)
    assert not tables.is_met_swaps({**series, "p99_ratio": 3.1})
    assert not tables.is_met_swaps({**series, "tally": {**series["tally"], "scored": 1}})


def test_every_fault_has_a_colour_of_each_outcome() -> None:
    """The plot of outcomes knows all of them."""
    assert set(plots.COLOURS) == set(outcomes.OUTCOMES)
    assert len(FAULTS) == 10


def test_the_command_explains_itself_and_refuses_nonsense(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """--help exits 0, wrong usage 2, a report of nothing 1."""
    for arguments, status in ((["--help"], 0), (["swaps", "--rate", "0"], 2), (["jump"], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == status
    assert "python -m benchmarks.reliability" in capsys.readouterr().out
    assert main(["report", "--out", str(tmp_path), "--page", str(tmp_path)]) == 1
    assert "expected swaps.json" in capsys.readouterr().err
