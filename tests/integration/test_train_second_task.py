"""A second task is trained, measured, promoted, built and served with no change elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from iqa.network import checkpoint
from iqa.network.runtime import OpenVINORuntime
from PIL import Image

from scripts import model_info, set_alias
from scripts.archive.golden import Golden, NotGolden
from tests.second_task import POLICY, BrightnessTraining, brightness_known, served
from training import evaluate
from training.data import ratings
from training.data.config import DataConfig
from training.experiments.sweep import sweep
from training.experiments.sweep_cells import Cell
from training.graph import precision
from training.graph.export import check_graph, export_onnx
from training.loop.config import TrainConfig
from training.loop.training_run import report, train
from training.registry import model_versions, promotion, ranking


@pytest.fixture(scope="module", autouse=True)
def task() -> Iterator[BrightnessTraining]:
    """The task and its data set, known."""
    with brightness_known() as known:
        yield known


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of noise, half of them bright."""
    folder = tmp_path_factory.mktemp("brightness")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(60):
        label = ("dark", "bright")[index // 5 % 2]
        level = {"dark": 70, "bright": 185}[label]
        pixels = np.clip(rng.normal(level, 25, (48, 40, 3)), 0, 255).astype(np.uint8)
        name = f"{index}.png"
        Image.fromarray(pixels).save(folder / name)
        split = ("train", "train", "train", "val", "test")[index % 5]
        rows.append({"image_name": name, "label": label, "split": split})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def config_for(images: Path, out: Path, **settings: object) -> TrainConfig:
    """Return a run of seconds."""
    fixed = {
        "dataset": "brightness", "data_dir": images, "weights": "none", "epochs": 3, "lr": 3e-3,
        "batch_size": 12, "crop_px": 28, "workers": 0, "device": "cpu", "precision": "f32",
        "dropout": 0.0, "out": out, "alias": "staging", "model_name": "brightness",
    }  # fmt: skip
    return TrainConfig(**{**fixed, **settings})  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.usefixtures("store")
def test_the_whole_way_from_a_table_of_labels_to_a_served_answer(
    task: BrightnessTraining, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, registered, promoted by accuracy; its graph answers as torch does."""
    registered = train(config_for(images, tmp_path / "run"))
    assert registered is not None and report(registered) == 0
    told = capsys.readouterr().out
    assert f"staging -> version 1: validation ACCURACY {registered.metrics['val']['accuracy']:.3f}"\
        in told  # fmt: skip
    assert "brightness version 1: test ACCURACY" in told
    version = model_versions.resolve("brightness", "staging")
    assert version.tags["task"] == "brightness" and "val_cross_entropy" in version.tags
    assert model_info.main(["--model-name", "brightness", "--all"]) == 0
    assert "ACCURACY " in capsys.readouterr().out

    folder = model_versions.download("brightness", "1", tmp_path / "out")
    network, card = checkpoint.load(folder)
    assert card["class_names"] == ["dark", "bright"] and checkpoint.policy_of(card) == POLICY
    assert card["metrics"]["test"] == registered.metrics["test"]
    assert "mos_range" not in card["data"]

    export_onnx(network, folder / "model.onnx")
    runtime = OpenVINORuntime(folder / "model.onnx", threads=1)
    files = [images / f"{index}.png" for index in range(4, 10)]
    answers = check_graph(runtime, network, files, 0.01, card)
    _, replies = served(folder, [file.read_bytes() for file in files])
    assert replies[0].keys() >= {"label", "probability"} and "score" not in replies[0]
    pictures = [
        (file.name, file.read_bytes(), said) for file, said in zip(files, answers, strict=True)
    ]
    golden = Golden(version="1", pictures=pictures, tolerance=0.05, task=task)
    for index, reply in enumerate(replies):
        assert golden.compare(index, 200, reply) < 0.01
    turned = {**replies[0], "label": {"dark": "bright", "bright": "dark"}[replies[0]["label"]]}
    with pytest.raises(NotGolden):
        golden.compare(0, 200, turned)

    out = tmp_path / "metrics.json"
    options = ["--dataset", "brightness", "--data-dir", str(images), "--workers", "0"]
    assert evaluate.main(["--model", str(folder), *options, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["accuracy"] == pytest.approx(card["metrics"]["test"]["accuracy"])
    assert "CROSS_ENTROPY" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("accuracy", "moves"), [(0.9, True), (0.7, False)])
def test_the_alias_goes_to_the_better_by_the_task_s_own_rank(
    images: Path, tmp_path: Path, accuracy: float, moves: bool
) -> None:
    """Accuracy decides; a model of quality under the same name is not compared with."""
    first = train(config_for(images, tmp_path / "run", epochs=1))
    assert first is not None
    card = checkpoint.load_card(tmp_path / "run" / "best")
    card["metrics"]["val"] = {"accuracy": 0.8, "cross_entropy": 0.5}
    holder = promotion.register("brightness", None, tmp_path / "run" / "best", card)
    model_versions.move_alias("brightness", "staging", holder.version, "test")
    card["metrics"]["val"] = {"accuracy": accuracy, "cross_entropy": 0.6}
    challenger = promotion.register("brightness", None, tmp_path / "run" / "best", card)
    val = ratings.load(
        DataConfig(dataset="brightness", data_dir=images), targets=first.task.targets, policy=POLICY
    ).splits["val"]
    assert promotion.promote_if_better("staging", challenger, val) is moves
    assert set_alias.main(["brightness", "--best-of-all", "--alias", "best"]) == 0
    best = model_versions.resolve("brightness", "best")
    metrics = [ranking.metrics_on_validation(each, first.task)
               for each in model_versions.versions("brightness")]  # fmt: skip
    assert ranking.metrics_on_validation(best, first.task) == max(metrics, key=first.task.rank)


@pytest.mark.usefixtures("store")
def test_a_model_of_another_task_keeps_the_alias(
    images: Path, tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mixes two tasks under one name is told, and moves the alias by hand."""
    quality = promotion.register("brightness", None, untrained, checkpoint.load_card(untrained))
    model_versions.move_alias("brightness", "staging", quality.version, "test")
    train(config_for(images, tmp_path / "run", epochs=1))
    told = capsys.readouterr().out
    assert "expected a model of brightness, got one of quality" in told
    assert str(model_versions.resolve("brightness", "staging").version) == quality.version


@pytest.mark.usefixtures("store")
def test_a_sweep_ranks_by_the_task(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The columns are the task's metrics, the best cell has the higher accuracy."""
    cells = [Cell("mobilenet_v2", 3e-3, 1), Cell("mobilenet_v2", 1e-5, 1)]
    best = sweep(config_for(images, tmp_path / "sweep", alias=None), cells, {})
    table = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")
    assert table["val_accuracy"].is_monotonic_decreasing
    assert str(table["version"][0]) == best.version
    assert "val ACCURACY" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_a_rounded_graph_is_measured_by_the_task(
    task: BrightnessTraining, images: Path, tmp_path: Path
) -> None:
    """The gate asks for the accuracy, and keeps it under that name."""
    train(config_for(images, tmp_path / "run", alias=None))
    network, card = checkpoint.load(tmp_path / "run" / "best")
    data = ratings.load(
        DataConfig(dataset="brightness", data_dir=images), targets=task.targets, policy=POLICY
    )
    folder = tmp_path / "bf16"
    folder.mkdir()
    gate = precision.make("bf16", task, network, card["weights_sha256"], data, folder)
    assert gate.pictures == 12 and "ACCURACY" in gate.sentence()
    assert {"accuracy", "accuracy_f32"} <= json.loads((folder / "gate.json").read_text()).keys()
    assert precision.read_gate(folder, card["weights_sha256"]) == gate
