"""The rules of Prometheus and the dashboard: valid, tested, and about metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from console.paths import ROOT
from scripts.serve import PORTS
from tests.monitoring import (
    MONITORING,
    dashboard_queries,
    documented_metrics,
    recording_rules,
)

ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((MONITORING / "alert_rules.yml").read_text())["groups"]
    for rule in group["rules"]
]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in the folder of the rules."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    return subprocess.run(
        [tool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.local.yml"])
def test_prometheus_takes_the_configuration_and_its_rules(name: str) -> None:
    """Both configurations are valid, with all three files of rules."""
    done = promtool("check", "config", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == 3


def test_prometheus_asks_each_process_of_a_default_server_at_its_own_port() -> None:
    """The side-car's port, which people type as documented, is nobody's of the server."""
    text = (MONITORING / "prometheus.local.yml").read_text()
    ports = {
        job["job_name"]: int(job["static_configs"][0]["targets"][0].rsplit(":", 1)[1])
        for job in yaml.safe_load(text)["scrape_configs"]
    }
    assert ports["torchserve"] == PORTS["metrics"][0]
    assert ports["supervisor"] == PORTS["health"][0]
    assert ports["sidecar"] not in {port for port, _ in PORTS.values()}
    assert f"--metrics-port {ports['sidecar']}\n" in text


def test_each_alert_fires_when_it_must_and_not_otherwise() -> None:
    """Promtool plays made-up series through the rules."""
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_firing_and_a_silent_case(alert: str) -> None:
    """An alert nobody has seen firing may never fire, one that always does is ignored."""
    cases = [
        bool(case["exp_alerts"])
        for test in yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert
    ]
    assert set(cases) == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_runbook(alert: str) -> None:
    """docs/metrics.md says of each what it means and what to do first."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert len(re.findall(rf"^\| `{alert}` \|", text, re.MULTILINE)) == 1


def test_each_metric_of_the_workers_is_documented() -> None:
    """What torchserve/metrics.yaml declares is in docs/metrics.md under its port, and no more."""
    declared = yaml.safe_load((ROOT / "torchserve" / "metrics.yaml").read_text())
    ours = {
        re.sub("_(bucket|sum|count)$", "", entry["name"])
        for kind in declared["model_metrics"].values()
        for entry in kind
    }
    assert documented_metrics()["torchserve"] == ours


def test_queries_name_only_metrics_of_the_process_that_they_ask() -> None:
    """A query for a metric that nobody makes is an empty panel, or an alert that never fires."""
    documented = documented_metrics()
    declared = (ROOT / "torchserve" / "metrics.yaml").read_text()
    known = set(re.findall(r"- name: (\w+)", declared)).union(*documented.values())
    known |= {rule["record"] for rule in recording_rules()}
    alerts = yaml.safe_load((MONITORING / "alert_rules.yml").read_text())
    expressions = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    expressions += dashboard_queries() + [rule["expr"] for rule in recording_rules()]
    for expression in expressions:
        named = set(re.findall(r"\biqa:[\w:]+|\biqa_\w+|\bts_\w+|\bRequests\dXX", expression))
        assert named <= known, expression
        for name, job in re.findall(r'\b(iqa_\w+)\{[^}]*job="(\w+)"', expression):
            assert name in documented[job], expression


def test_the_rules_are_tested_on_series_that_exist() -> None:
    """A rule that passes on an invented series would never fire."""
    documented = documented_metrics()
    for test in yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]:
        for line in test["input_series"]:
            name, job = re.match(r'(\w+)(?:\{.*job="(\w+)")?', line["series"]).groups()
            if name.startswith("iqa_") and job:
                assert re.sub("_(bucket|sum|count)$", "", name) in documented[job], line


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    """Grafana would move them, and the file would not be what one sees."""
    path = MONITORING / "grafana" / "dashboards" / "iqa.json"
    board: dict[str, Any] = json.loads(path.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
