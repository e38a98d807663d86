"""Measuring the shipped model on pictures of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from console.paths import ROOT
from tests.images import encode, photograph
from training.evaluate import main


@pytest.fixture
def own_pictures(tmp_path: Path) -> Path:
    """Six rated pictures, all of them in the test set."""
    rows = []
    for index in range(6):
        name = f"{index}.jpg"
        body = encode(photograph(200, 150, seed=index), "JPEG", quality=5 + 15 * index)
        (tmp_path / name).write_bytes(body)
        rows.append({"image_name": name, "mos": 1 + 0.7 * index, "set": "test"})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def test_one_command_measures_a_model_on_ones_own_pictures(
    own_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CSV with a test set only is enough; metrics, intervals, plot and worst ten come out."""
    out = own_pictures / "out" / "metrics.json"
    status = main(
        [
            "--model", str(ROOT / "training" / "pretrained"), "--dataset", "csv",
            "--labels", str(own_pictures / "labels.csv"), "--data-dir", str(own_pictures),
            "--mos-range", "1", "5", "--out", str(out), "--workers", "0", "--device", "cpu",
        ]
    )  # fmt: skip
    assert status == 0
    metrics = json.loads(out.read_text())
    assert {"srocc", "plcc", "krocc", "mae", "rmse", "mae_100", "rmse_100"} <= set(metrics)
    assert metrics["n"] == 6
    low, high = metrics["srocc_ci95"]
    assert low <= high
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    worst = pd.read_csv(out.with_suffix(".worst.csv"))
    assert sorted(worst["error"].abs(), reverse=True) == list(worst["error"].abs())
    assert "error by band" in capsys.readouterr().out


def test_photographs_without_sets_are_measured_all(
    own_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absolute names and ratings alone are enough, and the figures say what they are of."""
    labels = own_pictures / "labels.csv"
    table = pd.read_csv(labels).drop(columns="set")
    table["image_name"] = [str(own_pictures / name) for name in table["image_name"]]
    table.to_csv(labels, index=False)
    out = own_pictures / "metrics.json"
    options = ["--labels", str(labels), "--data-dir", str(own_pictures), "--mos-range", "1", "5"]
    command = ["--model", str(ROOT / "training" / "pretrained"), "--dataset", "csv", *options]
    for split in ("test", "all"):
        assert main([*command, "--split", split, "--out", str(out), "--workers", "0"]) == 0
        metrics = json.loads(out.read_text())
        assert (metrics["n"], metrics["dataset"], metrics["split"]) == (6, "csv", split)
        assert metrics["is_official_split"] is False
    assert str(own_pictures / "0.jpg") in capsys.readouterr().out


def test_a_picture_that_cannot_be_read_is_one_line(
    own_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also out of a decoding process, the failure is the file's name and what is wrong."""
    (own_pictures / "3.jpg").write_bytes(b"no picture")
    status = main(
        [
            "--model", str(ROOT / "training" / "pretrained"), "--dataset", "csv",
            "--labels", str(own_pictures / "labels.csv"), "--data-dir", str(own_pictures),
            "--mos-range", "1", "5", "--out", str(own_pictures / "m.json"), "--workers", "1",
        ]
    )  # fmt: skip
    assert status == 1
    error = capsys.readouterr().err.split("error: ")[1]
    assert error.startswith(f"{own_pictures / '3.jpg'}: body: expected an image file")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("models:/iqa@nobody", "alias 'nobody' of model 'iqa': expected a model version"),
        ("models:/iqa/4", "model 'iqa': expected a version, got '4'"),
        ("nowhere", "expected a folder with a checkpoint, models:/NAME/VERSION"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_model_that_is_not_there_is_one_line(
    model: str, words: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong name says what is expected."""
    assert main(["--model", model, "--data-dir", str(own_pictures)]) == 1
    assert words in capsys.readouterr().err
