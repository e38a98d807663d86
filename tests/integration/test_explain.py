"""The quality map beside occlusion, and beside damage that was put where the map should see it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from iqa.imaging.decoding import decode
from iqa.network.runtime import TorchRuntime

from console.paths import ROOT
from training.evaluate import main

PRETRAINED = ROOT / "training" / "pretrained"
GRAPH = PRETRAINED / "precision" / "bf16"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Explain one golden picture with the shipped graph, by the command."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "pictures").mkdir()
    shutil.copy(ROOT / "handler" / "golden" / "lighthouse.jpg", folder / "pictures")
    out = folder / "made" / "explanations.json"
    arguments = ["--model", str(PRETRAINED), "--graph", str(GRAPH)]
    assert main([*arguments, "--explain", str(folder / "pictures"), "--out", str(out)]) == 0
    assert out.with_suffix(".jpg").read_bytes().startswith(b"\xff\xd8")
    told = re.search(r"\| lighthouse\.jpg \| ([\d.]+) \|", out.with_suffix(".md").read_text())
    body = (ROOT / "handler" / "golden" / "lighthouse.jpg").read_bytes()
    quality = TorchRuntime(PRETRAINED, threads=1).outputs(decode(body).pixels()[None])[0]
    # In bf16 and shown to a tenth of a point.
    assert told is not None and float(told[1]) == pytest.approx(100 * quality, abs=0.55)
    document: dict[str, Any] = json.loads(out.read_text())
    return document


def test_the_map_falls_where_a_picture_was_damaged(report: dict[str, Any]) -> None:
    """Blur, noise and JPEG in the right half: a fall there, and next to none on the left."""
    assert [row["kind"] for row in report["damage"]] == ["gaussian_blur", "white_noise", "jpeg"]
    for row in report["damage"]:
        assert row["found"] == 1.0, row
        assert row["inside"] < -0.3, row
        # Places beside the border see across it.
        assert abs(row["outside"]) < 0.25 * abs(row["inside"]), row


def test_occlusion_is_a_rank_correlation_for_each_picture(report: dict[str, Any]) -> None:
    """It asks another question than the map, so no size is promised; it is told."""
    assert list(report["rank_correlation"]) == ["lighthouse.jpg"]
    value = report["rank_correlation"]["lighthouse.jpg"]
    assert -1 <= value <= 1
    assert value == report["rank_correlation_median"]


def test_a_folder_without_pictures_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says which option is meant."""
    assert main(["--model", str(PRETRAINED), "--explain", str(tmp_path)]) == 1
    assert "--explain: expected a folder with .jpg" in capsys.readouterr().err
