"""Classes the whole way: trained, compared, measured, built, proven, answered by the handler."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from iqa.imaging.decoding import decode
from iqa.network import checkpoint

from console.paths import ROOT
from scripts import build_mar
from scripts.archive import mar_file
from tests.labelled import CLASSES, config_for, write
from training import evaluate
from training.data import ratings
from training.loop.training_run import train
from training.registry import model_versions, promotion
from training.registry.promotion import Registered
from training.train import main


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders."""
    return write(tmp_path_factory.mktemp("shapes"))


@pytest.mark.usefixtures("store")
def test_from_folders_to_a_proven_archive(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run: card, registry, paired test, report, archive with equal bytes, its replies."""
    registered = train(config_for(images, tmp_path / "run"))
    assert registered is not None
    assert "nothing held the alias" in capsys.readouterr().out
    assert registered.metrics["test"]["accuracy"] >= 0.9
    card = checkpoint.load_card(tmp_path / "run" / "best")
    assert card["task"] == "classes" and card["class_names"] == list(CLASSES)
    assert card["calibration"]["kind"] == "temperature"
    assert set(card["calibration"]["validation"]) == {"raw", "calibrated"}
    assert {"width_px": 28, "channels": "L", "min_side_px": 7}.items() <= (
        card["preprocessing"].items()
    )
    tags = model_versions.resolve("shapes", "staging").tags
    assert tags["task"] == "classes" and tags["calibration"].startswith("temperature ")

    _a_worse_one_does_not_get_the_alias(images, tmp_path, registered, capsys)
    _it_is_measured(images, tmp_path, card, capsys)
    _it_is_built_and_answers(images, tmp_path)


def _a_worse_one_does_not_get_the_alias(
    images: Path, tmp_path: Path, registered: Registered, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config_for(images, tmp_path / "bad", epochs=1, lr=1e-5, augment=("flip", "shift"),
                          patience=1, schedule="plateau", train="last:1")  # fmt: skip
    train(settings)
    said = capsys.readouterr().out
    assert "staging stays at version 1: not better" in said and "McNemar's test: p = " in said
    # The same weights once more: a tie in accuracy and in cross-entropy.
    best = tmp_path / "run" / "best"
    same = promotion.register("shapes", None, best, checkpoint.load_card(best))
    data = ratings.load(
        settings, targets=registered.task.targets, policy=registered.task.policy_of(settings)
    )
    assert not promotion.promote_if_better("staging", same, data.splits["val"])
    assert "a tie" in capsys.readouterr().out


def _it_is_measured(
    images: Path, tmp_path: Path, card: checkpoint.Card, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report" / "metrics.json"
    data = ["--dataset", "imagefolder", "--data-dir", str(images), "--workers", "0"]
    assert evaluate.main(["--model", str(tmp_path / "run" / "best"), *data, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "macro_f1" in said and "by class" in said and "surest mistakes" in said
    found = json.loads(out.read_text())
    assert found["accuracy"] == pytest.approx(card["metrics"]["test"]["accuracy"])
    assert found["by_class"][0]["label"] == "dots" and len(found["confusion"]) == 3
    rows = pd.read_csv(out.with_suffix(".predictions.csv"))
    assert len(rows) == 24 and {"prob_dots", "prob_rings", "prob_stripes"} < set(rows)
    assert (rows["label"] == rows["predicted_label"]).mean() == pytest.approx(found["accuracy"])
    written = (".png", ".confusion.csv", ".reliability.svg", ".worst.csv", ".worst.png")
    assert all(out.with_suffix(suffix).stat().st_size > 10 for suffix in written)


def _it_is_built_and_answers(images: Path, tmp_path: Path) -> None:
    stores = [tmp_path / "first", tmp_path / "again"]
    for store in stores:
        options = ["--model-name", "shapes", "--precision", "f32", "--out", str(store)]
        assert build_mar.main(options) == 0
    archive = stores[0] / "shapes-1.mar"
    assert archive.read_bytes() == (stores[1] / "shapes-1.mar").read_bytes()
    provenance = mar_file.read_provenance(archive)
    assert provenance["task"] == "classes" and len(provenance["golden"]) == 3
    for item in provenance["golden"]:
        differences = [abs(p - item["f32"]["probabilities"][name])
                       for name, p in item["probabilities"].items()]  # fmt: skip
        assert max(differences) < 1e-3
    network, card = checkpoint.load(tmp_path / "run" / "best")
    read = checkpoint.task_of(card).reader(card)
    files = [images / "test" / label / "0.png" for label in CLASSES]
    replies = _answers_of(archive, tmp_path / "unpacked", files)
    for file, reply in zip(files, replies, strict=True):
        pixels = decode(file.read_bytes(), policy=checkpoint.policy_of(card)).pixels().copy()
        with torch.inference_mode():
            expected = read(network(torch.from_numpy(pixels)[None])[0].numpy())
        assert reply["predicted_label"] == expected["predicted_label"]
        assert reply["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
        assert reply["image"] == {"width": 32, "height": 32, "format": "PNG"}
        assert reply["model"] == {"name": "shapes", "version": "1"} and reply["warnings"] == []


ANSWER = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from iqa_handler import IQAHandler
metrics = MetricsCacheYamlImpl(sys.argv[2]); metrics.initialize_cache()
context = Context("shapes", sys.argv[1], {}, 4, None, "", True, metrics, {})
handler = IQAHandler(); handler.initialize(context)
rows = [{"body": bytearray(Path(name).read_bytes())} for name in sys.argv[3:]]
context.request_processor = [RequestProcessor({}) for _ in rows]
replies = handler.handle(rows, context)
print("\\n" + json.dumps([json.loads(reply) for reply in replies]))
"""


def _answers_of(archive: Path, folder: Path, files: list[Path]) -> list[dict]:  # type: ignore[type-arg]
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    metrics = ROOT / "torchserve" / "metrics.yaml"
    done = subprocess.run(
        [sys.executable, "-I", "-c", ANSWER, str(folder), str(metrics), *map(str, files)],
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.usefixtures("store")
def test_a_task_that_the_data_are_not_for_is_refused(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained."""
    options = ["--dataset", "imagefolder", "--data-dir", str(images), "--task", "quality"]
    assert main([*options, "--weights", "none", "--epochs", "1"]) == 1
    assert "--task: expected classes" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "option",
    ["--teacher=training/pretrained", "--teacher-share=1", "--damaged-pairs=1", "--damage=camera",
     "--order-weight=3", "--loss=mse", "--crop-px=100", "--area-px=20000", "--min-scale=0.9"],
)  # fmt: skip
def test_a_setting_of_ratings_alone_is_refused(
    images: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher of quality would change the labels; the others would be ignored or crash."""
    options = ["--dataset", "imagefolder", "--data-dir", str(images), "--weights", "none"]
    assert main([*options, option, "--out", str(tmp_path / "run")]) == 1
    name = option.split("=")[0]
    assert f"{name}: expected it for data of ratings" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
