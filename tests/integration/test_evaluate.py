"""Measuring the shipped model on pictures of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.images import encode, photograph
from training.evaluate import main
from training.tracking_uri import ROOT


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
