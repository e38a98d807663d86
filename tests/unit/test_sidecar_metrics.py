"""What the side-car tells: asked of TorchServe at the scrape, of MLflow never."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.rollout.deployment_records import Hold, Records
from scripts.rollout.metrics import SidecarMetrics, answer_of
from scripts.rollout.settings import Deployment
from scripts.server import health
from scripts.server.addresses import Addresses
from scripts.server.client import TorchServe
from scripts.server.http_client import NotNow
from scripts.server.state import StateDir
from tests.ports import free_port


class Management:
    """A management API that says what it is told to."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.entries: list[dict[str, Any]] = []
        management = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(management.entries).encode()
                self.send_response(200 if management.entries else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def serve(self, version: str, ready: int = 2, queue: int = 3) -> None:
        """Have one version, with two workers."""
        states = ["READY"] * ready + ["LOADING"] * (2 - ready)
        self.entries = [
            {
                "modelVersion": version,
                "modelUrl": f"iqa-{version}.mar",
                "workers": [{"pid": i, "status": state} for i, state in enumerate(states)],
                "jobQueueStatus": {"pendingRequests": queue},
            }
        ]


@pytest.fixture
def management(tmp_path: Path) -> Iterator[Management]:
    """The API, and an empty state folder."""
    made = Management(Records(state=StateDir.at(tmp_path), model_name="iqa"))
    yield made
    made.http.shutdown()
    made.http.server_close()


def metrics_of(management: Management) -> SidecarMetrics:
    """Return metrics about that server."""
    addresses = Addresses(
        inference=management.url, management=management.url, metrics=management.url
    )
    records = management.records
    plan = Deployment(
        server=TorchServe(addresses, "iqa"), store=Path(), state=records.state, is_local=False
    )
    return SidecarMetrics(lambda: plan, "staging", records)


def values(metrics: SidecarMetrics) -> dict[str, float]:
    """Return the samples of the page."""
    rows = [row.rsplit(" ", 1) for row in answer_of([metrics]).body.decode().splitlines()]
    return {name: float(value) for name, value in rows if name[0] != "#"}


def test_what_is_wanted_and_what_is_served_are_two_numbers(management: Management) -> None:
    """The alias is as MLflow said last, the rest is as TorchServe says now."""
    management.serve("2", ready=1)
    with management.records.changing() as record:
        record.alias_version = "3"
    told = values(metrics_of(management))
    assert told['iqa_alias_version{alias="staging",model_name="iqa"}'] == 3
    assert told['iqa_served_version{model_name="iqa"}'] == 2
    assert told['iqa_ready_workers{model_name="iqa"}'] == 1
    assert told['iqa_queue_requests{model_name="iqa"}'] == 3


def test_a_version_without_a_ready_worker_is_not_ready(management: Management) -> None:
    """Loading is not ready, whatever /ping says."""
    management.serve("2", ready=0)
    told = values(metrics_of(management))
    assert told['iqa_ready_workers{model_name="iqa"}'] == 0
    assert not any(name.startswith("iqa_ready{") or name == "iqa_ready" for name in told)


def test_without_a_server_the_page_still_comes(management: Management) -> None:
    """Not ready, no version; nothing is made up."""

    def find() -> Deployment:
        raise NotNow("none runs")

    told = values(SidecarMetrics(find, "staging", management.records))
    assert told['iqa_ready_workers{model_name="iqa"}'] == 0
    assert not any(name.startswith(("iqa_served", "iqa_alias")) for name in told)
    assert "iqa_registry_reachable" not in told  # nobody has asked yet
    assert not any(name.startswith("iqa_sync_last_success") for name in told)


def test_rounds_are_counted_by_what_came_of_them(management: Management) -> None:
    """Each outcome from 0 on; MLflow is away after a round that says so, and back after another."""
    management.serve("2")
    metrics = metrics_of(management)
    assert values(metrics)['iqa_sync_rounds_total{model_name="iqa",outcome="refused"}'] == 0
    metrics.round_ended("served")
    metrics.round_ended("registry_away")
    metrics.round_ended("not_now")
    told = values(metrics)
    assert told['iqa_sync_rounds_total{model_name="iqa",outcome="served"}'] == 1
    assert told['iqa_sync_rounds_total{model_name="iqa",outcome="registry_away"}'] == 1
    assert told["iqa_registry_reachable"] == 0
    seen_at_s = told['iqa_sync_last_success_timestamp_seconds{model_name="iqa"}']
    assert seen_at_s == pytest.approx(time.time(), abs=5)
    metrics.round_ended("refused")
    assert values(metrics)["iqa_registry_reachable"] == 1


def test_quarantine_and_hold_are_told_by_their_version(management: Management) -> None:
    """0 where there is none."""
    management.serve("2")
    metrics = metrics_of(management)
    told = values(metrics)
    names = [f'iqa_{kind}_version{{model_name="iqa"}}' for kind in ("quarantined", "held")]
    assert [told[name] for name in names] == [0, 0]
    with management.records.changing() as record:
        record.refuse("4", "it does not load.")
        record.hold = Hold(version="2", alias_version="3", reason="rollback", since_s=0.0)
    told = values(metrics)
    assert [told[name] for name in names] == [4, 2]


def test_prometheus_gets_the_page_over_http(management: Management) -> None:
    """GET /metrics on the port of --metrics-port, in the text format."""
    management.serve("2")
    port = free_port()
    with health.listening(
        "127.0.0.1", port, {"/metrics": lambda: answer_of([metrics_of(management)])}
    ):
        reply = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 404
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE iqa_sync_rounds_total counter" in reply.text
