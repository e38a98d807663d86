"""A real Prometheus beside a real server: every query of the dashboard and the rules has data."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from console.paths import ROOT
from tests.deploying import wait_for
from tests.monitoring import (
    MONITORING,
    dashboard_queries,
    documented_metrics,
    recording_rules,
)
from tests.ports import free_ports
from tests.server import RunningServer

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
RATE_INTERVAL = "8s"
LOAD_S = 12.0
WAIT_S = 30.0


class Prometheus:
    """One Prometheus with the project's rules, a scrape a second."""

    def __init__(self, folder: Path, port: int, targets: dict[str, str]) -> None:
        for name in ("recording_rules.yml", "score_reference.yml", "alert_rules.yml"):
            rules = (MONITORING / name).read_text().replace("interval: 1m", "interval: 1s")
            (folder / name).write_text(rules)
        text = (MONITORING / "prometheus.local.yml").read_text().replace(": 15s", ": 1s")
        for default, target in targets.items():
            assert default in text
            text = text.replace(default, target)
        (folder / "prometheus.yml").write_text(text)
        self._url = f"http://127.0.0.1:{port}"
        self.loaded_at_s: float | None = None
        """When the load on the server had ended, Unix time."""
        self._log = folder / "prometheus.log"
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is not installed")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    program, f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its API."""
        reply = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=10)
        document = reply.json()
        assert document["status"] == "success", (parameters, document)
        return document["data"]

    def values(self, query: str, at_s: float | None = None) -> list[float]:
        """Return what a query gives now or gave at a time, without what is no number."""
        at = {} if at_s is None else {"time": f"{at_s:.3f}"}
        found = self.ask("query", query=query, **at)["result"]
        return [value for row in found if not math.isnan(value := float(row["value"][1]))]

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self._url}/-/ready", timeout=1).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise AssertionError(self._log.read_text())


@pytest.fixture(scope="module")
def prometheus(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Prometheus, side-car and supervisor over the tests' server, and a little load on it."""
    free = free_ports()  # three that nobody has
    sidecar_port, port = free["INFERENCE_PORT"], int(free["METRICS_PORT"])
    folder = tmp_path_factory.mktemp("prometheus")
    supervision = json.loads((server.state_dir / "supervisor.json").read_text())
    targets = {
        "127.0.0.1:8082": f"127.0.0.1:{server.environment['METRICS_PORT']}",
        "127.0.0.1:8083": f"127.0.0.1:{supervision['health_port']}",
        "127.0.0.1:8085": f"127.0.0.1:{sidecar_port}",
    }
    running = Prometheus(folder, port, targets)
    with (folder / "sidecar.log").open("w") as log:
        sidecar = subprocess.Popen(
            [
                sys.executable, "-m", "scripts.deploy", "sync", "--watch", "--poll-s", "1",
                "--watch-s", "0.5", "--longest-request-s", "1", "--metrics-port", sidecar_port,
            ],
            cwd=ROOT, env={**server.environment, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        # Prometheus scrapes once a second: what is up only now would still be told as down.
        wait_for(lambda: _has_looked(sidecar_port), "the side-car's first round", 60)
        running.wait()
        _load(server)
        running.loaded_at_s = time.time()
        yield running
    finally:
        for process in (sidecar, running.process):
            process.terminate()
            process.wait(timeout=30)


def _has_looked(port: str) -> bool:
    try:
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except requests.ConnectionError:
        return False
    return "iqa_sync_last_success_timestamp_seconds" in page


def _load(server: RunningServer) -> None:
    """Send good pictures, bad ones, explanations, and some that waited too long."""
    pictures = [path.read_bytes() for path in GOLDEN]
    end_s = time.monotonic() + LOAD_S

    def send(number: int) -> None:
        body = [*pictures, b"", b"no picture", pictures[0][:1000]][number % (len(pictures) + 3)]
        while time.monotonic() < end_s:
            age_s = 20.0 if number == 0 else 0.01
            path = "/explanations/iqa" if number == 1 else "/predictions/iqa"
            requests.post(
                server.url("INFERENCE_PORT", path),
                data=body,
                headers={"X-Request-Start": f"t={time.time() - age_s:.3f}"},
                timeout=30,
            )
            time.sleep(0.2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))


def test_all_three_targets_are_scraped(prometheus: Prometheus) -> None:
    """TorchServe, supervisor and side-car answer, in Prometheus' own format."""
    targets = prometheus.ask("targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {
        "torchserve", "supervisor", "sidecar",
    }  # fmt: skip
    for target in targets:
        assert (target["health"], target["lastError"]) == ("up", ""), target


@pytest.mark.parametrize("job", ["torchserve", "supervisor", "sidecar"])
def test_each_process_tells_what_the_documents_say_it_tells(
    prometheus: Prometheus, job: str
) -> None:
    """
    Each endpoint, scraped alone, has every metric of its section, and none of another's.

    Those of the prediction log, which is off here, have a test of their own.
    """
    (url,) = (
        target["scrapeUrl"]
        for target in prometheus.ask("targets")["activeTargets"]
        if target["labels"]["job"] == job
    )
    page = requests.get(url, timeout=10).text
    told = {
        re.sub("_(bucket|sum|count)$", "", name)
        for name in re.findall(r"^(iqa_\w+)[{ ]", page, re.MULTILINE)
    }
    documented = documented_metrics()[job]
    assert told == {name for name in documented if not name.startswith("iqa_prediction_log_")}


def test_every_query_of_the_dashboard_returns_data(prometheus: Prometheus) -> None:
    """No panel is empty under load."""
    waiting = set(dashboard_queries(RATE_INTERVAL))
    _expect_data(prometheus, waiting)


def test_every_recording_rule_is_healthy_and_returns_data(prometheus: Prometheus) -> None:
    """The rules evaluate, and each expression gives a number."""
    _expect_data(prometheus, {str(rule["expr"]) for rule in recording_rules()})
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, [
        rule["lastError"] for rule in rules if rule["health"] != "ok"
    ]


def test_the_numbers_are_those_of_the_load(prometheus: Prometheus) -> None:
    """Each outcome is counted, what is served is what the alias names, and it is ready."""
    for outcome in ("scored", "explained", "rejected", "expired"):
        assert prometheus.values(f'sum(iqa_requests_total{{outcome="{outcome}"}})')[0] >= 5, outcome
    assert prometheus.values('sum(iqa_requests_total{outcome="failed"})') == [0]
    assert prometheus.values(
        "iqa_served_version == on (instance, model_name) iqa_alias_version"
    ) == [1]
    assert set(prometheus.values("iqa_ready")) == {1}
    assert prometheus.values('iqa_processes{process="workers"}') == [2]
    (mean,) = prometheus.values("sum(iqa_score_points_total) / sum(iqa_scores_total)")
    assert 20 < mean < 90


def _expect_data(prometheus: Prometheus, waiting: set[str]) -> None:
    deadline = time.monotonic() + 10
    while waiting and time.monotonic() < deadline:
        # Rates look back seconds: however late this test has its turn, they were there under load.
        waiting = {
            query
            for query in waiting
            if not prometheus.values(query, prometheus.loaded_at_s) and not prometheus.values(query)
        }
        time.sleep(0.5 if waiting else 0)
    assert not waiting, "\n".join(sorted(waiting))
