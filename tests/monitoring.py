"""The queries under test: those of the dashboard and of the recording rules."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import yaml

from console.paths import ROOT

MONITORING: Final = ROOT / "torchserve" / "monitoring"


def dashboard_queries(rate_interval: str = "5m") -> list[str]:
    """Return the expression of each panel and annotation, for all versions."""
    board = json.loads((MONITORING / "grafana" / "dashboards" / "iqa.json").read_text())
    told = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    told += [annotation["expr"] for annotation in board["annotations"]["list"]]
    assert len(told) > 40
    return [
        expression.replace("$__rate_interval", rate_interval)
        .replace("$version", ".*")
        .replace("$model", ".*")
        for expression in told
    ]


def recording_rules() -> list[dict[str, Any]]:
    """Return the recording rules of both files."""
    return [
        rule
        for name in ("recording_rules.yml", "score_reference.yml")
        for group in yaml.safe_load((MONITORING / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def documented_metrics() -> dict[str, set[str]]:
    """Return the metrics of each job of Prometheus: docs/metrics.md has a section for each port."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    found = {}
    for port, job in (("8082", "torchserve"), ("8083", "supervisor"), ("8085", "sidecar")):
        section = text.split(f"\n## {port}: ")[1].split("\n## ")[0]
        found[job] = set(re.findall(r"^\| `(iqa_\w+)` \|", section, re.MULTILINE))
        assert found[job]
    return found
