"""A folder that is scored without a server gets the scores of the server."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from console.paths import ROOT
from tests.odd_inputs import ODD_INPUTS
from tests.server import RunningServer

TOLERANCE = 0.01  # of a point


def test_the_served_archive_and_the_alias_score_a_folder_as_the_server_does(
    server: RunningServer, tmp_path: Path
) -> None:
    """By the archive, and by the alias that names its version: the score over HTTP to 0.01."""
    images = tmp_path / "images"
    images.mkdir()
    for path in (ROOT / "handler" / "golden").glob("*.jpg"):
        (images / path.name).write_bytes(path.read_bytes())
    for place, odd in enumerate(ODD_INPUTS.values()):
        if odd.status == 200:
            (images / f"{place}.jpg").write_bytes(odd.body)
    for words in (
        ["--model", str(server.model_store / "iqa-1.mar")],
        ["--model", "staging", "--model-store", str(server.model_store)],
    ):
        out = tmp_path / "scores.csv"
        done = subprocess.run(
            [sys.executable, "-m", "scripts.score_folder", str(images), "--out", str(out), *words],
            cwd=ROOT,
            env={**os.environ, "MLFLOW_TRACKING_URI": server.environment["MLFLOW_TRACKING_URI"]},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) > 20
        for row in rows:
            reply = server.score((images / row["filename"]).read_bytes())
            assert abs(float(row["score"]) - reply["score"]) <= TOLERANCE, row
            assert row["label"] == reply["label"] and row["model_version"] == "1"
            assert row["warnings"].split() == reply["warnings"]
