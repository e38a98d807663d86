"""Has the world moved: compare a prediction log with a reference, and make a page of it."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqa.drift.comparison import WINDOW

from console import command_line

if TYPE_CHECKING:
    from scripts.drift_report.windows import Report

MOVED = 3
EXAMPLES = """
examples:
  python -m scripts.drift --prediction-log predictions --reference model-store
  python -m scripts.drift --prediction-log predictions --reference training/pretrained \\
    --since 2026-11-01 --out november.html
  python -m scripts.drift --prediction-log predictions --reference predictions \\
    --reference-until 2026-11-01 --since 2026-11-01

The last one asks whether November's pictures are as those before.

exit status: 0 nothing moved; 1 failed; 2 wrong usage; 3 something moved.
"""


def main(argv: list[str] | None = None) -> int:
    """Make the page from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.drift",
        description="Say whether the pictures or the model moved: the rows of a prediction log, "
        "by version and window, beside a reference. Writes one HTML file with plots.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--prediction-log", type=Path, required=True, metavar="DIR", help="the log's folder"
    )
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="PATH",
        help="a checkpoint, an archive, a folder of archives (each version's own), or a prediction "
        "log: the traffic of another time",
    )  # fmt: skip
    parser.add_argument("--since", metavar="TIME", help="look from then on, UTC; 2026-11-29T14:00")
    parser.add_argument("--until", metavar="TIME", help="look at what was before")
    parser.add_argument(
        "--reference-since", metavar="TIME", help="the same for a log that is the reference"
    )
    parser.add_argument("--reference-until", metavar="TIME", help="the same")
    parser.add_argument(
        "--window", type=int, default=WINDOW, metavar="N",
        help="pictures of a window (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("drift.html"),
                        help="file of the page (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    if arguments.window < 1:
        parser.error(f"--window: expected a number of pictures, got {arguments.window}")
    return command_line.run(lambda: _run(arguments), arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    # Plots and tests take seconds to import: only once the options are right.
    from scripts.drift_report.find_reference import references_at
    from scripts.drift_report.page import page
    from scripts.drift_report.traffic import traffic_of
    from scripts.drift_report.windows import details, report_of, verdict_in_words

    of = references_at(arguments.reference, arguments.reference_since, arguments.reference_until)
    traffic = traffic_of(arguments.prediction_log, arguments.since, arguments.until)
    reports, missing = [], []
    for version, one in traffic.items():
        try:
            reports.append(report_of(one, of(version), arguments.window))
        except ValueError as error:  # an archive that is gone leaves the other versions alone
            missing.append(f"{version}: left out: {error}")
    if not reports:
        raise ValueError("; ".join(missing))
    for line in missing:
        print(line, file=sys.stderr)
    source = (
        f"{sum(len(one.traffic.times) for one in reports):,} pictures of "
        f"{arguments.prediction_log.name}, compared with {arguments.reference.name}"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(
        page(reports, source, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"), encoding="utf-8"
    )
    if arguments.json:
        print(json.dumps([_document(report) for report in reports], indent=2))
    else:
        for report in reports:
            print(verdict_in_words(report))
            for line in details(report):
                print(f"  {line}")
        print(f"written: {arguments.out}")
    return MOVED if any(report.newest.verdict != "nothing" for report in reports) else 0


def _document(report: Report) -> dict[str, Any]:
    return {
        "version": report.traffic.version,
        "pictures": len(report.traffic.times),
        "windows": [
            {
                "end": end, "pictures": compared.pictures, "verdict": compared.verdict,
                "moved": list(compared.moved),
                "over_limit": {name: round(value, 3) for name, value in compared.over.items()},
            }
            for end, compared in report.windows
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
