"""Both ends of a benchmark's command: the parser it begins with, the files it leaves."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine
from console.paths import ROOT


def parser_of(name: str, description: str | None, folder: str) -> argparse.ArgumentParser:
    """
    Return a parser with --out.

    Args:
        name: Module of `benchmarks`.
        description: Its docstring, for --help.
        folder: Of what is written, below build/.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / folder,
        help=f"folder (default: build/{folder})",
    )  # fmt: skip
    return parser


def keep(out: Path, name: str, found: Mapping[str, Any], text: str | None = None) -> int:
    """
    Write what was measured, with when and on what; print it; 0.

    Args:
        out: Folder; made if need be.
        name: Of the files, `NAME.json` and, with a text, `NAME.md`.
        found: What was measured.
        text: The same as Markdown; None: what was measured is printed as JSON.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_at": time.strftime("%Y-%m-%d %H:%M"),
        "machine": machine.machine(),
        "versions": machine.versions(),
        **found,
    }
    (out / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    if text is not None:
        (out / f"{name}.md").write_text(text + "\n")
    print(json.dumps(found, indent=2) if text is None else text)
    return 0
