"""The shipped model on changed pictures, through the exported graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from iqa.imaging.decoding import decode
from iqa.network.runtime import TorchRuntime
from iqa.tasks.score_scales import ScoreScale
from PIL import Image

from console.paths import ROOT
from training.robustness import main

MODEL = ROOT / "training" / "pretrained"

KINDS = ("gaussian_blur", "white_noise", "jpeg", "rescale")
ORDERED = 0.95  # all of them here, all but two of 1,440 on the 24 Kodak photographs


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Measure the shipped model on the two golden pictures that are not blurred."""
    folder = tmp_path_factory.mktemp("robustness")
    (folder / "pictures").mkdir()
    for name in ("parrots.jpg", "lighthouse.jpg"):
        shutil.copy(ROOT / "handler" / "golden" / name, folder / "pictures")
    out = folder / "made" / "robustness.json"
    status = main(
        ["--model", str(MODEL), "--pictures", str(folder / "pictures"), "--out", str(out)]
    )
    assert status == 0
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "| mirrored |" in out.with_suffix(".md").read_text()
    return json.loads(out.read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_worse_picture_gets_a_lower_score(report: dict[str, Any], kind: str) -> None:
    """Of all pairs of levels, the original included, nearly all are in the right order."""
    row = report["distortions"][kind]
    assert row["pairs"] == 30
    assert row["ordered"] >= ORDERED, row


@pytest.mark.parametrize("change", ["mirrored", "jpeg_95"])
def test_the_same_picture_gets_the_same_score(report: dict[str, Any], change: str) -> None:
    """Mirrored, or saved again as a JPEG of quality 95, it moves by at most 2 points."""
    assert report["changes"][change]["max_absolute_difference"] <= 2.0


def test_a_picture_sent_twice_as_large_gets_the_same_score(report: dict[str, Any]) -> None:
    """What was added is taken away again on the way to 512 x 384 pixels in area."""
    assert report["changes"]["double_size"]["max_absolute_difference"] <= 1.0


def test_level_0_is_the_file_as_it_is_served(report: dict[str, Any]) -> None:
    """The original is scored as it was sent, to 0.01 of a point of the torch reference."""
    body = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
    quality = TorchRuntime(MODEL, threads=1).outputs(decode(body).pixels()[None])
    expected = ScoreScale.of_card(json.loads((MODEL / "model.json").read_text())).score(
        float(quality[0])
    )
    for kind in report["distortions"]:
        assert report["scores"]["parrots.jpg"][kind][0] == pytest.approx(expected, abs=0.01)


def test_a_large_jpeg_is_changed_at_its_full_size(tmp_path: Path) -> None:
    """At half of 1536 x 1024 pixels there still are more than the network sees: hardly a change."""
    with Image.open(ROOT / "handler" / "golden" / "parrots.jpg") as image:
        image.resize((1536, 1024), Image.Resampling.LANCZOS).save(tmp_path / "a.jpg", quality=95)
    out = tmp_path / "made.json"
    assert main(["--model", str(MODEL), "--pictures", str(tmp_path), "--out", str(out)]) == 0
    changes = json.loads(out.read_text())["changes"]
    assert changes["half_size"]["max_absolute_difference"] <= 1.0


def test_a_picture_too_small_to_halve_is_named(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its half cannot be scored; the message is one line with its name."""
    Image.new("RGB", (90, 40), "grey").save(tmp_path / "small.png")
    out = tmp_path / "made.json"
    assert main(["--model", str(untrained), "--pictures", str(tmp_path), "--out", str(out)]) == 1
    assert "error: small.png: image: expected at least 32 x 32" in capsys.readouterr().err
    assert not out.exists()
