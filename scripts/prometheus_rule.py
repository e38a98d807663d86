"""
Write the rules of torchserve/monitoring/ as a PrometheusRule, which the Prometheus operator reads.

To be run where a rule was changed; a test holds the two equal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from console import command_line
from console.paths import ROOT

MONITORING: Final = ROOT / "torchserve" / "monitoring"
FILES: Final = ("score_reference.yml", "recording_rules.yml", "alert_rules.yml")
OUT: Final = ROOT / "kubernetes" / "components" / "monitoring" / "prometheus-rule.yaml"
HEAD: Final = (
    "# Made of torchserve/monitoring/*.yml. Change a rule there, then:\n"
    "#   python -m scripts.prometheus_rule\n"
)


def main(argv: list[str] | None = None) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.prometheus_rule",
        description="Write the rules of torchserve/monitoring/ as a PrometheusRule for Kubernetes.",
        epilog="Example: python -m scripts.prometheus_rule",
    )
    parser.add_argument(
        "--out", type=Path, default=OUT,
        help="file (default: kubernetes/components/monitoring/prometheus-rule.yaml)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        text = yaml.safe_dump(prometheus_rule(), sort_keys=False, width=100, allow_unicode=True)
        arguments.out.write_text(HEAD + text)
        print(arguments.out)
        return 0

    return command_line.run(command, arguments.debug)


def prometheus_rule() -> dict[str, Any]:
    """Return the PrometheusRule: the groups of all rule files, in the order of prometheus.yml."""
    groups = [
        group
        for name in FILES
        for group in yaml.safe_load((MONITORING / name).read_text())["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "iqa",
            "namespace": "iqa",
            "labels": {"app.kubernetes.io/name": "iqa"},
        },
        "spec": {"groups": groups},
    }


if __name__ == "__main__":
    sys.exit(main())
