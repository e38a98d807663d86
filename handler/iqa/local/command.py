"""The command `iqa`: `iqa score FILE...`."""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from iqa.errors import ImageRejected
from iqa.imaging.sniff import SUFFIXES
from iqa.local.files import images_in, unreadable
from iqa.local.model import Model, load
from iqa.tasks.task import label_of

COLUMNS: Final = (
    "file", "score", "label", "low", "high", "width", "height", "format", "warnings", "reason",
    "message",
)  # fmt: skip
EXAMPLES: Final = """examples:
  iqa score photo.jpg
  iqa score photographs/ --csv > scores.csv
  iqa score *.heic --json | jq .score
  iqa score photo.jpg --model model-store/iqa-3.mar

exit status: 0 all scored, 1 some were refused (each with its reason), 2 wrong usage, no picture or
no model, 141 whoever read the output had enough of it
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `EXAMPLES` for the exit status."""
    parser = argparse.ArgumentParser(
        prog="iqa", description="Image quality, 0 to 100, without a server."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser(
        "score", help="score pictures", description="Score pictures, 0 to 100; higher is better.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    score.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pictures, or folders of them"
    )
    form = score.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document a line, as served")
    form.add_argument("--csv", action="store_true", help="CSV with a header")
    score.add_argument(
        "--model", type=Path, help="archive or folder of another model (default: the shipped one)"
    )
    score.add_argument(
        "--threads", type=int, default=1, help="of the processor (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.threads < 1:
        parser.error(f"--threads: expected 1 or more, got {arguments.threads}.")
    files = images_in(arguments.files)
    if not files:
        named = ", ".join(map(str, arguments.files))
        print(
            f"error: {named}: expected pictures ({', '.join(SUFFIXES)}), got none. Name a file, "
            "whatever its ending, or another folder.",
            file=sys.stderr,
        )
        return 2
    try:
        model = load(arguments.model, arguments.threads)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return _print(model, files, as_json=arguments.json, as_csv=arguments.csv)
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered
        return 128 + signal.SIGPIPE


def _print(model: Model, files: list[Path], *, as_json: bool, as_csv: bool) -> int:
    status = 0
    table = csv.writer(sys.stdout, lineterminator="\n")
    if as_csv:
        table.writerow(COLUMNS)
    for path, reply in _replies(model, files):
        refused = "reason" in reply
        status = 1 if refused else status
        if as_json:
            print(json.dumps({"file": str(path), **reply}), flush=True)
        elif as_csv:
            table.writerow(_row(path, reply))
        elif refused:
            print(f"{'':7}  {'refused':<9}  {path}: {reply['message']}", flush=True)
        else:
            notes = f"  ({', '.join(reply['warnings'])})" if reply["warnings"] else ""
            score = f"{reply['score']:7.2f}" if "score" in reply else " " * 7
            print(f"{score}  {label_of(reply) or '':<9}  {path}{notes}", flush=True)
    return status


def _replies(model: Model, files: list[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in files:
        try:
            yield path, model.predict(path)
        except ImageRejected as error:
            yield path, error.body()
        except OSError as error:
            yield path, unreadable(error)


def _row(path: Path, reply: dict[str, Any]) -> list[Any]:
    image, ends = reply.get("image", {}), reply.get("interval", ["", ""])
    return [
        path, reply.get("score", ""), label_of(reply) or "", *ends, image.get("width", ""),
        image.get("height", ""), image.get("format", ""), " ".join(reply.get("warnings", [])),
        reply.get("reason", ""), reply.get("message", ""),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
