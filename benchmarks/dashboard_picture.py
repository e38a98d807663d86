"""
A picture of the dashboard, for the documents: its own queries, asked of a real Prometheus.

    python -m benchmarks.dashboard_picture --prometheus http://127.0.0.1:9090 --minutes 5
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import requests
from matplotlib.figure import Figure

from console import command_line
from console.paths import ROOT

DASHBOARD: Final = ROOT / "torchserve" / "monitoring" / "grafana" / "dashboards" / "iqa.json"
PANELS: Final = (
    "Requests by outcome", "Requests by version", "Share of 5xx", "Pictures refused, by reason",
    "Whole request", "p95 by stage", "Requests that wait", "Expired in the queue",
    "Scores by label", "Mean score", "Drift of the scores (PSI)", "Megapixels",
    "Alias and served version", "CPU", "Memory", "Workers started again",
)  # fmt: skip
"""Those that say most at this size; Grafana has all of them."""
COLUMNS: Final = 4
STEPS: Final = 150
UNITS: Final = {
    "reqps": "requests/s", "percentunit": "share", "s": "s", "bytes": "MB", "short": "", "none": "",
}  # fmt: skip

Line = tuple[str, list[float], list[float]]
"""Legend, minutes, values."""


def main(argv: list[str] | None = None) -> int:
    """Ask and plot."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dashboard_picture",
        description="Plot sixteen panels of the Grafana dashboard from its own queries, over the "
        "last minutes of a Prometheus that scrapes this server.",
    )
    parser.add_argument(
        "--prometheus", default="http://127.0.0.1:9090", help="its address (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="how far back (default: %(default)g)"
    )
    parser.add_argument(
        "--rate-interval", default="1m",
        help="in place of Grafana's $__rate_interval: four scrapes or more (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "metrics.png",
        help="file of the picture (default: docs/metrics.png)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        board = json.loads(DASHBOARD.read_text())
        panels = {panel["title"]: panel for panel in board["panels"]}
        end_s = time.time()
        told = {
            title: _lines(arguments, panels[title], end_s - 60 * arguments.minutes, end_s)
            for title in PANELS
        }
        _plot(told, panels, arguments.out)
        print(arguments.out)
        return 0

    return command_line.run(command, arguments.debug)


def _lines(
    arguments: argparse.Namespace, panel: dict[str, Any], begin_s: float, end_s: float
) -> list[Line]:
    lines: list[Line] = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", arguments.rate_interval)
        reply = requests.get(
            f"{arguments.prometheus}/api/v1/query_range",
            params={
                "query": query.replace("$version", ".*").replace("$model", ".*"),
                "start": f"{begin_s:.3f}",
                "end": f"{end_s:.3f}",
                "step": f"{(end_s - begin_s) / STEPS:.3f}",
            },
            timeout=30,
        )
        reply.raise_for_status()
        for row in reply.json()["data"]["result"]:
            minutes = [(float(at_s) - begin_s) / 60 for at_s, _ in row["values"]]
            values = [float(value) for _, value in row["values"]]
            lines.append((_legend(target["legendFormat"], row["metric"]), minutes, values))
    if not lines:
        raise ValueError(f"{panel['title']}: expected data, got none. Is the server scraped?")
    return lines


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


def _plot(told: dict[str, list[Line]], panels: dict[str, Any], out: Path) -> None:
    rows = -(-len(told) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, sharex=True)
    for axis, (title, lines) in zip(axes.flat, told.items(), strict=True):
        unit = panels[title]["fieldConfig"]["defaults"]["unit"]
        scale = 1e-6 if unit == "bytes" else 1.0
        for legend, minutes, values in lines:
            is_limit = legend.startswith(("objective", "alert"))
            axis.plot(
                minutes, [scale * value for value in values], label=legend, linewidth=1.4,
                **({"color": "grey", "linestyle": "--"} if is_limit else {}),
            )  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(UNITS[unit], fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if len(lines) > 1:
            axis.legend(fontsize=6.5, framealpha=0.6, ncols=2 if len(lines) > 3 else 1)
    for axis in axes[-1]:
        axis.set_xlabel("minutes", fontsize=8)
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    sys.exit(main())
