"""Read a server's prediction log: counts, one answer; erase a picture; find what was changed."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iqa.prediction_log.manifest import locked

from console import command_line
from scripts.prediction_log import counts, maintenance
from scripts.prediction_log.reading import flat, rows_of, segments
from scripts.prediction_log.verify import Findings, verify

EXAMPLES = """
examples:
  python -m scripts.predictions predictions
  python -m scripts.predictions predictions --by day --since 2026-11-01 --csv
  python -m scripts.predictions predictions --id fdfbd51a06ae7592f9d56e17cc679f00
  python -m scripts.predictions predictions --erase-picture $(sha256sum photo.jpg | cut -d ' ' -f 1)
  python -m scripts.predictions predictions --verify --json > heads.json
  python -m scripts.predictions predictions --verify --against heads.json
  python -m scripts.predictions predictions --compact
  python -m scripts.predictions predictions --remove-before 2026-08-01

DIR is what the server was started with: scripts/run_torchserve.sh --prediction-log DIR.

exit status: 0 done; 1 failed, or: no answer has the id, the log was changed, a segment that was
changed is not made into Parquet; 2 wrong usage.
"""


def main(argv: list[str] | None = None) -> int:
    """Read the log from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.predictions",
        description="Count the answers in a server's prediction log by hour and version, find one, "
        "erase a picture, find what was changed. A server may write to it meanwhile.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR",
        default=os.environ.get("PREDICTION_LOG") or None,
        help="the log's folder [PREDICTION_LOG]",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--id", help="show the answers to one request, or one row by its id")
    what.add_argument(
        "--erase-picture", metavar="SHA256",
        help="make what is known of a picture, in every row, unreadable for ever; the rows are "
        "still counted, and the chain still holds",
    )  # fmt: skip
    what.add_argument(
        "--verify", action="store_true",
        help="name each row or segment that was edited, dropped, doubled or added",
    )  # fmt: skip
    what.add_argument(
        "--compact", action="store_true",
        help="make Parquet of the segments that are complete; for a cron job",
    )  # fmt: skip
    what.add_argument(
        "--remove-before", metavar="TIME",
        help="remove the segments that were complete before then; that stays on record",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="FILE",
        help="with --verify: what --verify --json printed earlier must still be there",
    )  # fmt: skip
    parser.add_argument("--by", choices=sorted(counts.STEPS), help="count by it (default: hour)")
    parser.add_argument("--since", metavar="TIME", help="count from then on, UTC; 2026-11-29T14:00")
    parser.add_argument("--until", metavar="TIME", help="count what was before")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    if arguments.folder is None:
        parser.error("expected DIR, got none, and PREDICTION_LOG is not set")
    if arguments.against and not arguments.verify:
        parser.error("--against: expected --verify beside it")
    modes = ("id", "verify", "compact", "erase_picture", "remove_before")
    mode = next((one for one in modes if getattr(arguments, one) not in (None, False)), None)
    if arguments.csv and mode not in (None, "id"):
        parser.error("--csv: expected counts, or --id")
    for option in ("by", "since", "until"):
        if mode is not None and getattr(arguments, option) is not None:
            other = mode.replace("_", "-")
            parser.error(f"--{option}: expected counts, got --{other}. Leave one of them out.")
    return command_line.run(lambda: _run(arguments), arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    """Do what is asked for, and nothing of another process's meanwhile: files would come and go."""
    segments(arguments.folder)
    with locked(arguments.folder):
        return _run_locked(arguments)


def _run_locked(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if arguments.id is not None:
        return _show(folder, arguments.id, arguments.csv)
    if arguments.erase_picture is not None:
        count = maintenance.erase(folder, arguments.erase_picture)
        _say({"erased": count}, f"{count} rows erased", arguments.json)
        return 0
    if arguments.verify:
        return _verify(folder, arguments.against, arguments.json)
    if arguments.compact:
        done, refused = maintenance.compact(folder)
        text = "\n".join([f"{done} segments are Parquet now", *refused])
        _say({"compacted": done, "refused": refused}, text, arguments.json)
        return 1 if refused else 0
    if arguments.remove_before is not None:
        moment = counts.moment_of("--remove-before", arguments.remove_before)
        count = maintenance.remove_before(folder, moment)
        _say({"removed": count}, f"{count} segments removed", arguments.json)
        return 0
    frame = counts.answers(folder, arguments.since, arguments.until)
    found = counts.summaries(frame, arguments.by or "hour")
    if arguments.json:
        print(json.dumps(found, indent=2))
    elif arguments.csv:
        _print_csv([_with_words(one) for one in found])
    else:
        print(counts.as_text(found) if found else "no answers")
    return 0


def _show(folder: Path, wanted: str, as_csv: bool) -> int:
    """Print the rows of a request, one a line."""
    found = [
        row for row in rows_of(folder) if wanted in (row.get("id"), row["data"].get("request_id"))
    ]
    if as_csv:
        _print_csv([_with_words(flat(row)) for row in found])
    else:
        for row in found:
            print(json.dumps(row))
    if not found:
        print(f"no answer has the id {wanted}", file=sys.stderr)
    return 0 if found else 1


def _verify(folder: Path, against: Path | None, as_json: bool) -> int:
    found = verify(folder, _earlier(against) if against else None)
    lines = [
        *(f"CHANGED  {one}" for one in found.problems),
        *(f"note     {n}" for n in found.notes),
    ]
    holds = f"{found.rows} rows in {len(found.heads)} segments hold, {found.erased} of them erased"
    count = len(found.problems)
    verdict = f"{count} changes found" if count else "no change found"
    _say(dataclasses.asdict(found), "\n".join([*lines, f"{holds}; {verdict}"]), as_json)
    return 1 if found.problems else 0


def _earlier(path: Path) -> Findings:
    """
    Return what an earlier --verify --json printed.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        return Findings(**json.loads(path.read_text()))
    except OSError as error:
        raise ValueError(
            f"--against: expected a file that --verify --json printed, got {path}: "
            f"{error.strerror}. Keep one: --verify --json > heads.json"
        ) from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: expected what --verify --json printed, got something else."
        ) from error


def _say(document: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(document, indent=2) if as_json else text)


def _with_words(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose lists and counts are texts, for a cell."""
    return {
        name: counts.in_words(value)
        if isinstance(value, dict)
        else " ".join(map(str, value))
        if isinstance(value, list)
        else value
        for name, value in row.items()
    }


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
