"""`training.average`: one network of several; real runs, registry and pictures."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import torch
from iqa import checkpoint
from iqa.model import QualityNetwork

from training import average, demo_data, registry
from training.config import TrainConfig
from training.tracking_uri import ROOT
from training.train import train

WEIGHTS = ROOT / "training" / "pretrained" / checkpoint.WEIGHTS_FILE


@pytest.fixture
def two_runs(demo: Path, tmp_path: Path, store: str) -> list[Path]:
    """Train twice from the same weights with frozen norms, at two rates."""
    folders = []
    for lr in (5e-4, 1e-3):
        config = TrainConfig(
            data_dir=demo, weights=str(WEIGHTS), norm="frozen", epochs=1, batch_size=4, crop_px=64,
            lr=lr, workers=0, device="cpu", precision="f32", out=tmp_path / f"lr{lr}",
        )  # fmt: skip
        train(config)
        folders.append(config.run_dir / "best")
    return folders


def command(demo: Path, out: Path, *folders: Path) -> list[str]:
    """Return the command line."""
    names = [str(folder) for folder in folders]
    where = ["--data-dir", str(demo), "--out", str(out), "--workers", "0", "--device", "cpu"]
    return ["--checkpoints", *names, *where]


def test_the_mean_of_two_runs_is_a_version_like_any_other(
    two_runs: list[Path], demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Its weights are the mean; its card tells of what; it is measured, registered, promoted."""
    out = tmp_path / "mean"
    assert average.main([*command(demo, out, *two_runs), "--alias", "staging"]) == 0
    assert "iqa version 3: test SROCC" in capsys.readouterr().out

    version = registry.resolve("iqa", "staging")
    assert str(version.version) == "3"
    network, card = checkpoint.load(registry.download("iqa", "3", tmp_path / "downloaded"))
    members = [checkpoint.load(folder) for folder in two_runs]
    first, second = (dict(member.named_parameters()) for member, _ in members)
    moved = 0
    for name, value in network.named_parameters():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
        moved += not torch.equal(first[name], second[name])
    assert moved > 100  # the members are not one network
    assert "began apart" not in caplog.text
    told = card["training"]
    assert [one["weights_sha256"] for one in told["mean_of"]] == [
        member_card["weights_sha256"] for _, member_card in members
    ]
    assert [one["settings"]["lr"] for one in told["mean_of"]] == ["0.0005", "0.001"]
    (digest,) = {one["starting_weights"] for one in told["mean_of"]}
    assert digest == f"model.safetensors, SHA-256 {checkpoint.sha256_of(WEIGHTS)}"
    assert told["seconds"] == sum(one["seconds"] for one in told["mean_of"])
    assert told["git_commit"]  # a build of the archive names it
    assert card["metrics"].keys() == {"val", "test"}
    assert version.run_id
    assert "best_test_srocc" in mlflow.get_run(version.run_id).data.metrics


def test_other_pictures_are_refused_before_anything_is_written(
    two_runs: list[Path], demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network may have been trained on what is validation in another split."""
    other = tmp_path / "other"
    demo_data.make(other, 24, seed=5)
    out = tmp_path / "mean"
    assert average.main(command(other, out, *two_runs)) == 1
    assert "expected a network of these pictures and ratings" in capsys.readouterr().err
    assert not out.exists()
    assert len(registry.versions("iqa")) == 2


def test_runs_of_other_seeds_are_named(
    two_runs: list[Path], demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their heads began apart; it is done all the same."""
    card = checkpoint.load_card(two_runs[1])
    card["training"]["settings"]["seed"] = "3"
    checkpoint.change_card(two_runs[1], {"training": card["training"]})
    assert average.main(command(demo, tmp_path / "mean", *two_runs)) == 0
    assert "expected runs of one --seed, got 0, 3: their heads began apart" in caplog.text


def test_fewer_than_two_are_refused() -> None:
    """The mean of one is a copy."""
    with pytest.raises(ValueError, match=r"expected two networks or more, got 1"):
        average.mean_network([QualityNetwork("resnet18")])


def test_networks_of_two_backbones_are_refused() -> None:
    """Their weights have nothing in common."""
    networks = [QualityNetwork("resnet18"), QualityNetwork("mobilenet_v2")]
    with pytest.raises(ValueError, match=r"one backbone, got resnet18, mobilenet_v2"):
        average.mean_network(networks)


def test_statistics_of_batches_are_refused() -> None:
    """Norms that followed their own batches have no mean that fits the mean weights."""
    networks = [QualityNetwork("resnet18") for _ in range(2)]
    norm = next(m for m in networks[1].modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_mean is not None
    norm.running_mean += 1.0
    with pytest.raises(ValueError, match=r"Train all of them with --norm frozen"):
        average.mean_network(networks)
