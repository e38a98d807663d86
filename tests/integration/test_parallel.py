"""Two processes train what one would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from iqa.network.model import ImageNetwork

from console.paths import ROOT
from tests.ports import free_port
from training.compute.fast_layers import make_fast
from training.compute.parallel import (
    ONE_PROCESS,
    ProcessGroup,
    expect_one_process,
    process_group,
)
from training.data import ratings
from training.data.images import EpochBatches
from training.loop.config import TrainConfig
from training.loop.step import Step
from training.loop.trainer import Trainer
from training.tasks.task_table import QUALITY

WEIGHTS = ROOT / "training" / "pretrained" / "model.safetensors"
PICTURES = 6  # the last four without a rating: two pairs


def _gradients(one: ProcessGroup) -> list[torch.Tensor]:
    """Gradients of one step, of which this process takes its share."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = ImageNetwork("mobilenet_v2", dropout=0.0)
    make_fast(network.features, is_norm_frozen=True)
    config = TrainConfig(weights="imagenet", norm="frozen", dropout=0.0, precision="f32")
    pixels = torch.randint(0, 256, (PICTURES, 64, 64, 3), dtype=torch.uint8)
    target = torch.tensor([0.1, 0.7, *[torch.nan] * 4])
    mine = [*one.share([0, 1]), *(2 + 2 * pair + k for pair in one.share([0, 1]) for k in (0, 1))]
    step = Step(config, network, QUALITY, one)
    step.backward(step.forward(pixels[mine], target[mine]))
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def _join(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


def _one_of_two(rank: int, port: int, out: str) -> None:
    _join(rank, port)
    with process_group(torch.device("cpu")) as both:
        assert (both.rank, both.size, both.is_first) == (rank, 2, rank == 0)
        torch.save(_gradients(both), f"{out}/{rank}.pt")
        whole = both.gather_shares(np.array([[1.0, 3.0, 5.0], [2.0, 4.0]][rank], dtype=float), 5)
        assert whole.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert both.any(rank == 1) and not both.any(False)
        with pytest.raises(ValueError, match="--batch-size: expected a multiple of the 2 proc"):
            both.expect_divides("--batch-size", 5)


def test_two_processes_take_the_gradients_of_the_whole_batch(tmp_path: Path) -> None:
    """The loss compares pictures with each other, also those of another process."""
    torch.multiprocessing.spawn(_one_of_two, (free_port(), str(tmp_path)), nprocs=2)
    alone = _gradients(ONE_PROCESS)
    assert len(alone) > 100
    for rank in (0, 1):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for one, other in zip(alone, shared, strict=True):
            apart = torch.linalg.vector_norm(one - other)
            assert apart <= 1e-4 * torch.linalg.vector_norm(one) + 1e-6


def _trained_by_one_of_two(rank: int, port: int, data_dir: str, out: str) -> None:
    _join(rank, port)
    config = TrainConfig(
        data_dir=Path(data_dir), out=Path(out), weights="none", limit=8, batch_size=4, crop_px=64,
        area_px=12288, lr=1e-5, workers=0, device="cpu", precision="f32",
    )  # fmt: skip
    data = ratings.load(config, policy=QUALITY.policy_of(config))
    with process_group(torch.device("cpu")) as both:
        odd = data.splits["train"].part(lambda rows: rows[:5])
        fewer = replace(data, splits={**data.splits, "train": odd})
        message = "fewer than --batch-size: expected a multiple of the 2 processes, got 5"
        with pytest.raises(ValueError, match=message):
            Trainer(replace(config, batch_size=16), QUALITY, fewer, {}, both)
        one = Trainer(config, QUALITY, data, {}, both)
        one._report = lambda metrics: None  # type: ignore[method-assign]  # no MLflow here
        weights = one.network.head.weight.detach().clone()
        one.train_epoch()
        drawn = torch.rand(3)
        one.validate()
        torch.save([weights, drawn, dict(one.network.named_buffers())], f"{out}/{rank}.pt")


def test_two_processes_validate_one_network_and_drop_out_differently(
    rated: Path, tmp_path: Path
) -> None:
    """Same start, same statistics of batch norms at validation, but each its own random state."""
    torch.multiprocessing.spawn(
        _trained_by_one_of_two, (free_port(), str(rated), str(tmp_path)), nprocs=2
    )
    (start, drawn, buffers), (other_start, other_drawn, other_buffers) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert torch.equal(start, other_start)
    assert not torch.equal(drawn, other_drawn)
    assert all(torch.equal(buffers[name], other_buffers[name]) for name in buffers)


def test_a_batch_is_dealt_out_whole() -> None:
    """Each picture and each pair of copies goes to one process."""
    whole = list(EpochBatches(20, 8, seed=0, damaged_pairs=2))
    shares = [list(EpochBatches(20, 8, 0, 2, ProcessGroup(rank, 2))) for rank in (0, 1)]
    for batch, *dealt in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(dealt[0] + dealt[1])
        assert [len(share) for share in dealt] == [6, 6]
        assert dealt[0][4] // 2 == dealt[0][5] // 2  # both copies of one picture


def test_torchrun_trains_and_registers_one_version(rated: Path, tmp_path: Path) -> None:
    """The whole command, twice as one process and as two: the same validation figures."""
    cards = []
    for start in ([], ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]):
        launcher = [*start, str(free_port())] if start else []
        out = tmp_path / ("two" if start else "one")
        done = subprocess.run(
            [
                sys.executable, *launcher, "-m", "training.train", "--data-dir", str(rated),
                "--weights", str(WEIGHTS), "--norm", "frozen", "--dropout", "0",
                "--precision", "f32", "--epochs", "1", "--limit", "8", "--batch-size", "4",
                "--damaged-pairs", "2", "--crop-px", "64", "--area-px", "12288",
                "--workers", "0", "--lr", "1e-5",
                "--out", str(out),
            ],
            cwd=ROOT,
            env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{out}.db"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("version 1: test SROCC") == 1
        cards.append(json.loads((out / "best" / "model.json").read_text()))
    one, two = (card["metrics"]["val"] for card in cards)
    assert two["rmse"] == pytest.approx(one["rmse"], abs=1e-4)
    assert two["plcc"] == pytest.approx(one["plcc"], abs=1e-3)


def test_a_sweep_is_not_for_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better refused than run twice into the same folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"torchrun: expected training\.train, got training\.swe"):
        expect_one_process("training.sweep")
