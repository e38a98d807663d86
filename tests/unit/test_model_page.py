"""The page of the shipped model's figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.model_page import main, page
from console.paths import ROOT

RESULTS = ROOT / "docs" / "model"
FILES = ("test.json", "test.worst.csv", "calibration.json")


def test_the_page_is_made_of_the_files_beside_it() -> None:
    """Nobody wrote a figure into it by hand, and nobody forgot to make it anew."""
    assert (RESULTS / "results.md").read_text() == page(RESULTS)


def test_the_figures_are_of_the_shipped_weights() -> None:
    """Card, test and calibration speak of one model."""
    card = json.loads((ROOT / "training" / "pretrained" / "model.json").read_text())
    test, fitted = (
        json.loads((RESULTS / name).read_text()) for name in ("test.json", "calibration.json")
    )
    assert test["weights_sha256"] == card["weights_sha256"]
    assert fitted["calibration"]["scale"] == card["calibration"]["scale"]
    assert test["srocc"] == pytest.approx(card["metrics"]["test"]["srocc"], abs=1e-6)


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that makes it."""
    for name in FILES[:2]:
        shutil.copy(RESULTS / name, tmp_path)
    assert main(["--results", str(tmp_path)]) == 1
    assert "calibration.json: expected it, found none. Make it by" in capsys.readouterr().err
    assert not (tmp_path / "results.md").exists()
