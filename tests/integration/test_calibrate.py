"""Calibration and interval: fitted by one command, carried by the card, told by evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from iqa.network import checkpoint
from iqa.network.runtime import TorchRuntime
from iqa.tasks.heads import HEADS_FILE
from iqa.tasks.score_scales import ScoreScale, calibrate

from console.paths import ROOT
from tests.images import encode, photograph
from training import calibrate as command
from training import evaluate
from training.data.images import read_pixels
from training.data.ratings import Split
from training.loop.config import TrainConfig
from training.loop.training_run import train
from training.measure import calibration, score_scale
from training.registry import model_versions, promotion

PRETRAINED = ROOT / "training" / "pretrained"
BENT = {"kind": "affine_logit", "scale": 0.7, "offset": 0.6}
N = 40


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures, half for validation, whose ratings are the shipped quality, bent."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    runtime = TorchRuntime(PRETRAINED, threads=2)
    names = [f"{index}.jpg" for index in range(N)]
    for index, name in enumerate(names):
        quality = int(rng.integers(3, 95))
        body = encode(photograph(160, 120, seed=index), "JPEG", quality=quality)
        (folder / name).write_bytes(body)
    split = Split(names=names, paths=[folder / n for n in names], target=np.zeros(N))
    qualities = np.array(
        [float(runtime.outputs(read_pixels(split, i)[None])[0]) for i in range(N)]
    )  # fmt: skip
    mos = np.clip(calibrate(qualities, BENT) + rng.normal(0, 0.01, N), 0, 1)
    sets = ["validation" if index % 4 else "test" for index in range(N)]
    pd.DataFrame({"image_name": names, "mos": mos, "set": sets}).to_csv(
        folder / "labels.csv", index=False
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the shipped checkpoint, as it was before calibration, and few pictures."""
    monkeypatch.setattr(score_scale, "MIN_PICTURES", 20)
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for name in (checkpoint.WEIGHTS_FILE, HEADS_FILE):
        shutil.copy(PRETRAINED / name, copy)
    card = json.loads((PRETRAINED / checkpoint.CARD_FILE).read_text())
    for key in ("calibration", "interval"):
        card.pop(key, None)
    (copy / checkpoint.CARD_FILE).write_text(json.dumps({**card, "format": 1}))
    return copy


def options(pictures: Path, out: Path) -> list[str]:
    """Return what names the data and the place of the figures."""
    return [
        "--dataset", "csv", "--labels", str(pictures / "labels.csv"), "--data-dir", str(pictures),
        "--mos-range", "0", "1", "--workers", "0", "--device", "cpu", "--out", str(out),
    ]  # fmt: skip


def test_one_command_fits_both_and_evaluation_tells_them(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card gets what bent the ratings; on other pictures the error falls, intervals hold."""
    out = tmp_path / "calibration.json"
    weights = checkpoint.sha256_of(folder / checkpoint.WEIGHTS_FILE)
    assert command.main(["--checkpoint", str(folder), *options(pictures, out)]) == 0
    told = capsys.readouterr().out
    for words in ("calibration_error_100", "error by band of the score", "the label of the score"):
        assert words in told
    card = checkpoint.load(folder)[1]
    fitted = card["calibration"]
    assert fitted["scale"] == pytest.approx(BENT["scale"], abs=0.05)
    assert fitted["offset"] == pytest.approx(BENT["offset"], abs=0.05)
    assert fitted["n"] == card["interval"]["n"] == 30
    assert card["format"] == 2
    assert card["weights_sha256"] == weights
    validation = fitted["validation"]
    assert validation["calibrated"]["rmse_100"] < 0.3 * validation["raw"]["rmse_100"]
    assert json.loads(out.read_text())["interval"] == card["interval"]
    assert b"<svg" in out.with_suffix(".svg").read_bytes()

    metrics = tmp_path / "metrics.json"
    arguments = ["--model", str(folder), "--split", "test", *options(pictures, metrics)]
    assert evaluate.main(arguments) == 0
    found = json.loads(metrics.read_text())
    assert found["calibrated"]["rmse_100"] < 0.3 * found["rmse_100"]
    assert found["calibrated"]["srocc"] == pytest.approx(found["srocc"])
    assert found["interval"]["n"] == 10
    assert found["interval"]["coverage"] >= 0.7
    assert 0 < found["interval"]["mean_width"] < 10
    assert "promised: 90 %" in capsys.readouterr().out


def test_the_graph_that_is_served_is_measured_beside_torch(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped bf16 graph ranks as torch does, and its scores are near."""
    out = tmp_path / "metrics.json"
    graph = PRETRAINED / "precision" / "bf16"
    arguments = ["--model", str(folder), "--graph", str(graph), *options(pictures, out)]
    assert evaluate.main(arguments) == 0
    served = json.loads(out.read_text())["served"]
    assert abs(served["srocc_off"]) < 0.1  # ten pictures
    assert 0 < served["points_off_p99"] < 3
    assert "served against torch" in capsys.readouterr().out


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("part", [[], ["--split", "all"], ["--limit", "20"]])
def test_pictures_that_the_model_knows_are_refused(
    folder: Path, pictures: Path, tmp_path: Path, split: str, part: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """On training pictures a network looks better than it is, also among others, or on a part."""
    config = options(pictures, tmp_path / "calibration.json")
    labels = pd.read_csv(pictures / "labels.csv")
    chosen = labels[labels["set"] == "validation"]
    known = Split(
        names=list(chosen["image_name"]),
        paths=[pictures / name for name in chosen["image_name"]],
        target=chosen["mos"].to_numpy(),
    )
    checkpoint.change_card(folder, {"data": {"digests": {split: known.digest()}}})
    before = (folder / checkpoint.CARD_FILE).read_bytes()
    assert command.main(["--checkpoint", str(folder), *config, *part]) == 1
    assert "expected pictures of the validation split" in capsys.readouterr().err
    assert (folder / checkpoint.CARD_FILE).read_bytes() == before


def test_too_few_pictures_leave_the_card_as_it_is(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Two parameters out of thirty pictures would be noise."""
    monkeypatch.setattr(score_scale, "MIN_PICTURES", 100)
    before = (folder / checkpoint.CARD_FILE).read_bytes()
    arguments = ["--checkpoint", str(folder), *options(pictures, tmp_path / "c.json")]
    assert command.main(arguments) == 1
    assert "expected at least 100 validation pictures, got 30" in capsys.readouterr().err
    assert (folder / checkpoint.CARD_FILE).read_bytes() == before


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("is_enough", [True, False])
def test_a_run_calibrates_before_it_registers(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_enough: bool
) -> None:
    """The registered card holds both, measured on test; with few pictures it says nothing."""
    labels = pd.read_csv(pictures / "labels.csv")
    labels["set"] = ["training", "validation", "validation", "test"] * (N // 4)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    if is_enough:
        monkeypatch.setattr(score_scale, "MIN_PICTURES", 20)
        monkeypatch.setattr(calibration, "MIN_PICTURES", 10)
    config = TrainConfig(
        dataset="csv", data_dir=pictures, labels=tmp_path / "labels.csv", mos_range=(0.0, 1.0),
        # What ranks backwards is not calibrated: features that know quality rank right at once.
        weights=str(PRETRAINED / checkpoint.WEIGHTS_FILE), epochs=2, batch_size=4, crop_px=128,
        area_px=128 * 128,
        workers=0, device="cpu", precision="f32", out=tmp_path / "run",
    )  # fmt: skip
    registered: promotion.Registered = train(config)
    card = checkpoint.load(model_versions.download("iqa", registered.version, tmp_path / "out"))[1]
    tags = model_versions.get("iqa", registered.version).tags
    if not is_enough:
        assert "calibration" not in card and "interval" not in card
        assert "calibration" not in tags
        return
    assert ScoreScale.of_card(card).reply(0.5).keys() == {"score", "label", "interval", "coverage"}
    test = card["metrics"]["test"]
    assert test["calibrated"]["n"] == test["interval"]["n"] == 10
    assert "calibrated" not in card["metrics"]["val"]  # it would be measured where it was fitted
    assert tags["calibration"].startswith("affine_logit ")
