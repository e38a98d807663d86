"""The report: figures, targets, tables and plots made of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peer_comparison, report, results
from benchmarks.aggregates import Figures
from benchmarks.measured_steps import LIMIT, OURS
from benchmarks.results import Results
from benchmarks.targets import UNMEASURED, Target, targets


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
    told = peer_comparison.peer_wins(Figures(results=Results.read(made_up))).splitlines()
    assert [line.split(":")[0] for line in told] == [
        "- scores/s, 0.2MP.jpg x 1",
        "- p99 ms, 0.2MP.jpg x 1",
        "- seconds to the first score",
    ]
    assert "110, ours 100 (10%)" in told[0]


def test_the_report_is_a_page_with_two_plots(made_up: Path, tmp_path: Path) -> None:
    """It names machine, ratios and what failed; the same results give the same files."""
    out = tmp_path / "report"
    assert report.main(["--results", str(made_up), "--out", str(out)]) == 0
    page = (out / "results.md").read_text()
    assert "made up (avx2), 2 usable cores" in page
    assert "| ours | 200.0 | 198.0-230.0 | 0.83 | 1.00 |" in page
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
