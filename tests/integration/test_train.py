"""Training for real, on a few small pictures: it learns, repeats itself, and can be interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from PIL import Image

from console.paths import ROOT
from training import prune
from training.data import ratings
from training.experiments import pruned_checkpoint
from training.loop import trainer
from training.loop.config import TrainConfig
from training.loop.optimiser import average_of, evaluated_network
from training.loop.run_state import STATE_FILE
from training.loop.teacher import taught
from training.loop.trainer import Trainer
from training.loop.training_run import train
from training.measure.predict import predict, torch_predictor
from training.registry import model_versions, promotion
from training.registry.pretrained import PRETRAINED
from training.tasks.losses import LOSSES
from training.tasks.task_table import QUALITY
from training.train import main


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty pictures of noise, rated by their contrast, in the plain CSV layout."""
    folder = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(80):
        contrast = 10 + 1.25 * index
        pixels = 128 + rng.normal(0, contrast, (96, 128, 3))
        name = f"{index}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name)
        split = ("training", "training", "val", "test")[index % 4]
        rows.append({"image_name": name, "mos": contrast, "set": split})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def config_for(few: Path, out: Path, **settings: object) -> TrainConfig:
    """Return a run of seconds."""
    fixed = {
        "dataset": "csv", "data_dir": few, "labels": few / "labels.csv", "mos_range": (0.0, 120.0),
        "weights": "none", "epochs": 2, "batch_size": 2, "crop_px": 64, "workers": 0,
        "device": "cpu", "precision": "f32", "area_px": 96 * 128, "out": out,
    }  # fmt: skip
    return TrainConfig(**{**fixed, **settings})  # type: ignore[arg-type]  # a test's shorthand


def _weights(directory: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(directory / "best")[0].state_dict()


def test_a_network_overfits_eight_pictures() -> None:
    """The network, the loss and the head can fit eight ratings nearly exactly."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(
        np.stack([rng.integers(0, 32 * (i + 1), (64, 64, 3)) for i in range(8)]).astype(np.uint8)
    )
    target = torch.linspace(0.1, 0.9, 8)
    network = ImageNetwork("mobilenet_v2", dropout=0.0).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    first = None
    for _ in range(80):
        loss = LOSSES["mse+nin"](network(pixels), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.1 * first
    assert (network(pixels) - target).abs().max() < 0.12


@pytest.mark.usefixtures("store")
def test_the_same_seed_gives_the_same_network(few: Path, tmp_path: Path) -> None:
    """Two runs of one seed end in equal weights; another seed does not."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(config_for(few, tmp_path / name, seed=seed))
    first, second, other = (_weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.usefixtures("store")
def test_a_student_of_a_smaller_input_learns_from_its_teacher(few: Path, tmp_path: Path) -> None:
    """It starts from the teacher's last layer, asks it once, and its card says its own area."""
    train(config_for(few, tmp_path / "large", epochs=1))
    teacher = tmp_path / "large" / "best"
    weights = str(teacher / checkpoint.WEIGHTS_FILE)
    settings = {
        "epochs": 1, "weights": weights, "keep_head": True, "teacher": teacher, "area_px": 9216,
        "teacher_share": 1.0, "norm": "frozen", "lr": 1e-9,
    }  # fmt: skip
    train(config_for(few, tmp_path / "small", **settings))
    card = checkpoint.load_card(tmp_path / "small" / "best")
    assert checkpoint.policy_of(card).area_px == 9216 and card["format"] == 3
    assert card["training"]["teacher"].endswith(checkpoint.sha256_of(Path(weights)))
    # At a rate of almost nothing it still is its teacher, the last layer included.
    expected, found = _weights(tmp_path / "large"), _weights(tmp_path / "small")
    assert all(torch.allclose(expected[name], found[name], atol=1e-5) for name in expected)
    kept = np.load(tmp_path / "small" / "teacher.npz")
    data = ratings.load(config_for(few, tmp_path / "small"))
    asked = replace(data.splits["train"], paths=[tmp_path / "none.png"] * len(kept["names"]))
    again = taught(asked, teacher, 0.25, tmp_path / "small", torch.device("cpu"), 0)
    assert np.allclose(again.target, 0.75 * asked.target + 0.25 * kept["scores"])


@pytest.mark.usefixtures("store")
def test_a_pruned_network_is_trained_from_its_own_width(few: Path, tmp_path: Path) -> None:
    """The file of weights says how wide it is; the version keeps that, and its area."""
    narrow = tmp_path / "narrow"
    fitted_on = ["--dataset", "csv", "--labels", str(few / "labels.csv"), "--data-dir", str(few),
                 "--mos-range", "0", "120", "--images", "4", "--area-px", "9216"]  # fmt: skip
    options = ["--checkpoint", str(PRETRAINED), "--keep", "0.25", "--out", str(narrow)]
    assert prune.main([*options, *fitted_on]) == 0
    hidden = checkpoint.load_card(narrow)["architecture"]["hidden_channels"]
    assert hidden[:4] == [24, 32, 32, 48]  # whole eights
    settings = {
        "epochs": 1, "weights": str(narrow / checkpoint.WEIGHTS_FILE), "keep_head": True,
        "norm": "frozen", "area_px": 9216,
    }  # fmt: skip
    registered = train(config_for(few, tmp_path / "run", **settings))
    folder = model_versions.download("iqa", registered.version, tmp_path / "out")
    card = checkpoint.load(folder)[1]
    assert card["architecture"]["hidden_channels"] == hidden
    assert checkpoint.policy_of(card).area_px == 9216


def test_pruning_names_the_data_set_as_it_was_given(
    rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Synthetic pictures are in KonIQ-10k's layout: `--dataset synthetic` would be refused."""
    network = checkpoint.load(PRETRAINED)[0]
    same = SimpleNamespace(network=network, errors=[0.0] * 16)
    monkeypatch.setattr(pruned_checkpoint, "prune", lambda *_: same)
    monkeypatch.setattr(pruned_checkpoint, "_compare", lambda *_: None)
    options = ["--checkpoint", str(PRETRAINED), "--data-dir", str(rated), "--images", "1"]
    assert prune.main([*options, "--out", str(tmp_path / "narrow")]) == 0
    assert "--dataset koniq10k ..." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep_head": True}, "--keep-head: expected it with --weights FILE"),
        ({"area_px": 900}, "--area-px: expected at least 1024, got 900"),
        ({"min_scale": 0.0}, "--min-scale: expected a scale up to 1"),
        ({"min_scale": 0.05}, "--min-scale: expected a scale up to 1 whose input has 1024"),
        ({"teacher_share": 0.0}, "--teacher-share: expected a share above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    few: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    """The option is named, with what was expected of it."""
    with pytest.raises(ValueError, match=message):
        config_for(few, tmp_path / "run", **settings)


def test_the_moving_average_lags_and_is_what_is_evaluated() -> None:
    """Half of the way after one step at a decay of a half, statistics included; none at 0."""
    network = ImageNetwork("mobilenet_v2", dropout=0.0)
    average = average_of(network, 0.5)
    assert average is not None
    average.update_parameters(network)  # the first is a copy
    before = network.head.bias.item()
    with torch.no_grad():
        network.head.bias += 1.0
        network.features[0][1].running_mean += 4.0
    average.update_parameters(network)
    kept = evaluated_network(network, average)
    assert kept.head.bias.item() == pytest.approx(before + 0.5)
    assert kept.features[0][1].running_mean.mean().item() == pytest.approx(2.0)
    assert average_of(network, 0.0) is None
    assert evaluated_network(network, None) is network


@pytest.mark.usefixtures("store")
def test_an_interrupted_run_continues_to_the_same_network(few: Path, tmp_path: Path) -> None:
    """Ctrl-C in mid-epoch, then --resume: as if nothing had happened, in one MLflow run."""
    # One epoch, so that the network kept is the one after the last step.
    whole = config_for(few, tmp_path / "whole", epochs=1, ema_decay=0.9)
    train(whole)
    cut = config_for(few, tmp_path / "cut", epochs=1, ema_decay=0.9)
    command = _command(cut)
    process = subprocess.Popen(command, env=_environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "1/20 [" not in said:  # the bar after the first step
        said += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "--resume" in rest
    assert (tmp_path / "cut" / STATE_FILE).exists()
    with pytest.raises(ValueError, match=r"expected no interrupted run, found one\. Add --resume"):
        train(cut)
    with pytest.raises(ValueError, match="expected the interrupted run's settings"):
        train(replace(cut, resume=True, lr=1.0))
    state = torch.load(tmp_path / "cut" / STATE_FILE, weights_only=True)["state"]
    assert 0 < state["step"] < 20
    registered = train(replace(cut, resume=True))
    expected, got = _weights(tmp_path / "whole"), _weights(tmp_path / "cut")
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert not (tmp_path / "cut" / STATE_FILE).exists()
    run_id = model_versions.get("iqa", registered.version).run_id
    assert run_id
    history = mlflow.MlflowClient().get_metric_history(run_id, "val_srocc")
    assert [item.step for item in history] == [1]


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_resumed_run_has_the_rates_of_an_uninterrupted_one(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    """A plateau that the last validation shows lowers the rate from the next step on, in both."""
    falling = (0.5, 0.4, 0.3, 0.2)
    rates: list[list[float]] = []
    monkeypatch.setattr(trainer, "predict", lambda *_, **__: np.zeros(20))
    monkeypatch.setattr(Trainer, "_report", lambda *_: None)
    monkeypatch.setattr(
        Trainer, "train_step", lambda self, *_: rates[-1].append(_step_without_gradients(self))
    )

    def run(epochs: int, **settings: object) -> None:
        fixed = {"epochs": 4, "warmup": 0.0, "lr": 1.0, "head_lr_factor": 1.0, "batch_size": 20}
        out = tmp_path / str(settings.pop("out"))
        config = config_for(few, out, schedule=schedule, **fixed, **settings)
        data = ratings.load(config, policy=QUALITY.policy_of(config))
        one = Trainer(config, QUALITY, data, {})
        for _ in range(epochs):
            found = {"srocc": falling[one.state.epoch], "rmse_100": 1.0}
            monkeypatch.setattr(one._task, "metrics", lambda *_, found=found: found, raising=False)
            one.train_epoch()
            one.validate()
            one.save()

    rates.append([])
    run(4, out="whole")
    rates.append([])
    run(3, out="cut")
    run(1, out="cut", resume=True)
    assert rates[0] == rates[1]
    assert schedule != "plateau" or rates[0] == [1.0] * 6 + [pytest.approx(0.1)] * 2


def test_a_resumed_run_tells_the_time_of_all_its_steps(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved every few steps, stopped in mid-epoch and resumed: each step counts once."""
    step_s, now_s = trainer.SAVE_EVERY_S / 3, 0.0
    monkeypatch.setattr(trainer.time, "monotonic", lambda: now_s)

    def step(self: Trainer, *_: object) -> None:
        nonlocal now_s
        now_s += step_s
        _step_without_gradients(self)
        self._stop_request.is_requested = self.state.step == stops_after

    monkeypatch.setattr(Trainer, "train_step", step)

    def run(**settings: object) -> Trainer:
        config = config_for(few, tmp_path / "run", batch_size=4, **settings)
        data = ratings.load(config, policy=QUALITY.policy_of(config))
        return Trainer(config, QUALITY, data, {})

    stops_after: int | None = 6
    with pytest.raises(KeyboardInterrupt):
        run().train_epoch()
    resumed, stops_after = run(resume=True), None
    assert resumed.state.epoch_seconds == pytest.approx(6 * step_s)
    resumed.train_epoch()
    assert resumed.state.epoch_seconds == pytest.approx(10 * step_s)


def _step_without_gradients(one: Trainer) -> float:
    rate = one._optimizer.param_groups[0]["lr"]
    one._optimizer.step()
    one._scheduler.step()
    one.state.after_step(0.0)
    return float(rate)


@pytest.mark.usefixtures("store")
def test_a_run_logs_everything_that_explains_it(few: Path, tmp_path: Path) -> None:
    """Parameters, metrics an epoch, data digests, commit, packages, plots, and the model."""
    config = config_for(few, tmp_path / "run", alias="staging")
    registered = train(config)
    version = model_versions.resolve("iqa", "staging")
    assert str(version.version) == registered.version
    assert version.run_id
    run = mlflow.get_run(version.run_id)
    assert run.data.params["backbone"] == "mobilenet_v2"
    assert run.data.params["loss"] == "mse+nin"
    for metric in ("val_srocc", "val_plcc", "train_loss", "best_test_srocc", "best_test_rmse_100"):
        assert metric in run.data.metrics
    for tag in ("git_commit", "torch", "python", "digest_val"):
        assert tag in run.data.tags
    assert run.data.tags["starting_weights"] == "none"
    assert {item.tags[0].value for item in run.inputs.dataset_inputs} == {"train", "val", "test"}
    client = mlflow.MlflowClient()
    plots = {item.path for item in client.list_artifacts(version.run_id, "plots")}
    assert plots == {"plots/val.png", "plots/test.png", "plots/history.png"}
    val = ratings.load(config).splits["val"]
    assert version.tags["digest_val"] == val.digest()


@pytest.mark.usefixtures("store")
def test_a_reloaded_version_predicts_what_was_measured(few: Path, tmp_path: Path) -> None:
    """The registered weights give the metrics on record."""
    config = config_for(few, tmp_path / "run")
    registered = train(config)
    folder = model_versions.download("iqa", registered.version, tmp_path / "out")
    test = ratings.load(config).splits["test"]
    network, card = checkpoint.load(folder)
    seen = test.seen_by(checkpoint.policy_of(card))
    quality = predict(torch_predictor(network, torch.device("cpu")), seen)
    assert 100 * np.abs(quality - test.target).mean() == pytest.approx(
        card["metrics"]["test"]["mae_100"], abs=1e-3
    )
    assert isinstance(registered, promotion.Registered)


def test_data_that_cannot_be_trained_on_is_refused_before_anything_starts(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage and wrong data are one line each; no run, no folder."""
    arguments = [
        "--dataset", "csv", "--labels", str(few / "labels.csv"), "--data-dir", str(few),
        "--weights", "none", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main([*arguments, "--mos-range", "0", "10"]) == 1
    assert "mos: expected ratings in [0, 10], got 10 to 108.75" in capsys.readouterr().err
    assert main([*arguments, "--mos-range", "0", "120", "--batch-size", "1"]) == 1
    assert "--batch-size: expected at least 2, got 1." in capsys.readouterr().err
    assert main([*arguments, "--mos-range", "0", "120", "--label-smoothing", "0.1"]) == 1
    assert "--label-smoothing: expected it for data of classes" in capsys.readouterr().err
    assert main([*arguments, "--mos-range", "0", "120", "--image-size", "64", "64"]) == 1
    assert "--image-size: expected it for data of classes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def _command(config: TrainConfig) -> list[str]:
    options = {
        "dataset": config.dataset, "data-dir": config.data_dir, "labels": config.labels,
        "weights": config.weights, "epochs": config.epochs, "batch-size": config.batch_size,
        "crop-px": config.crop_px, "area-px": config.area_px, "workers": config.workers,
        "device": config.device,
        "precision": config.precision, "ema-decay": config.ema_decay, "out": config.out,
    }  # fmt: skip
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "training.train", *words, "--mos-range", "0", "120"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'handler'}"}
