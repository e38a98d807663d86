"""For the tests of the prediction log: rows, writers, segments, commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from iqa.prediction_log.writer import LogWriter, Report

from console.paths import ROOT
from scripts import predictions
from scripts.prediction_log import reading

PICTURE = "ab" * 32
OTHER = "cd" * 32
FACTS = {"model": "iqa", "version": "1", "pid": 1}


def row(number: int, picture: str = OTHER, reason: str | None = None) -> dict[str, Any]:
    """Return a row as the handler makes it: scored, or refused for a reason."""
    data: dict[str, Any] = {
        "model": "iqa", "version": "1", "archive_sha256": "e" * 64, "bytes": 63_000 + number,
        "request_id": f"request-{number}", "decode_s": 0.003917, "whole_s": 0.02,
    }  # fmt: skip
    if reason is None:
        data |= {
            "status": 200, "width": 512, "height": 384, "format": "JPEG", "score": 40.0 + number,
            "label": "good", "interval": [54.1, 69.0], "warnings": [], "network_s": 0.0121,
        }  # fmt: skip
    else:
        data |= {"status": 400, "reason": reason}
    return {
        "specversion": "1.0",
        "type": f"iqa.prediction.{'scored' if reason is None else 'rejected'}",
        "source": "/models/iqa/versions/1",
        "time": f"2026-11-29T04:31:{number:02d}.123Z",
        "datacontenttype": "application/json",
        "subject": f"sha256:{picture}",
        "data": data,
    }


def writer_of(folder: Path, reports: list[Report] | None = None, **limits: Any) -> LogWriter:
    """Return a writer that keeps what it reports."""
    told = [] if reports is None else reports
    return LogWriter(folder, FACTS, told.append, **{"flush_s": 0.01, **limits})


def segment_files(folder: Path) -> list[Path]:
    """Return the segments' files."""
    return list(reading.segments(folder).values())


def process_of(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'handler'}"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it printed."""
    status = predictions.main(list(arguments))
    return status, capsys.readouterr().out
