"""The saved state of a training run: continued, refused, and which epoch is the best."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from training.loop.config import TrainConfig
from training.loop.run_state import RunState
from training.loop.schedule import rate_scheduler
from training.tasks.task_table import QUALITY

DIGESTS = {"train": "a", "val": "b", "test": "c"}


def _parts() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
    network = torch.nn.Linear(2, 1)
    return network, torch.optim.AdamW(network.parameters())


def test_interrupted_run_is_continued_where_it_stood(tmp_path: Path) -> None:
    """Weights, optimiser, counters, history and the random state come back."""
    network, optimizer = _parts()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = RunState.open(TrainConfig(out=tmp_path), DIGESTS, network, optimizer)
    state.after_step(0.5)
    state.end_epoch()
    assert state.is_best({"srocc": 0.7, "rmse_100": 9.0}, QUALITY.rank)
    state.after_step(0.25)
    state.run_id = "abc"
    state.save(network, optimizer)
    drawn = torch.rand(3)
    other, other_optimizer = _parts()
    resumed = RunState.open(TrainConfig(out=tmp_path, resume=True), DIGESTS, other, other_optimizer)
    assert vars(resumed) == vars(state)
    assert torch.equal(torch.rand(3), drawn)
    assert torch.equal(other.weight, network.weight)
    assert len(other_optimizer.state) == len(optimizer.state)


def test_run_interrupted_by_an_older_release_is_continued(tmp_path: Path) -> None:
    """Its optimiser has its peak rate under another name than torch's schedulers want."""
    network, optimizer = _parts()
    state = RunState.open(TrainConfig(out=tmp_path), DIGESTS, network, optimizer)
    optimizer.param_groups[0]["peak_lr"] = 0.5
    optimizer.param_groups[0]["lr"] = 0.25
    state.save(network, optimizer)
    config = TrainConfig(out=tmp_path, resume=True)
    RunState.open(config, DIGESTS, network, optimizer)
    rate_scheduler(optimizer, total_steps=4, warmup=0.0, schedule="linear", steps_done=1)
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.75


@pytest.mark.parametrize("change", [{"lr": 1e-3}, {"seed": 1}, {"backbone": "resnet18"}])
def test_continuing_with_other_settings_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """A run is one configuration; the message gives the setting that it had."""
    parts = _parts()
    RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts).save(*parts)
    (name,) = change
    was = getattr(TrainConfig(), name)
    with pytest.raises(ValueError, match=f"settings and pictures .{name}={was}"):
        RunState.open(TrainConfig(out=tmp_path, resume=True, **change), DIGESTS, *parts)


def test_continuing_on_other_pictures_is_refused(tmp_path: Path) -> None:
    """The data may lie elsewhere, but must be the same pictures and ratings."""
    parts = _parts()
    RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts).save(*parts)
    with pytest.raises(ValueError, match=r"settings and pictures .digests=a b c., got digests=x"):
        other = {**DIGESTS, "train": "x"}
        RunState.open(TrainConfig(out=tmp_path, resume=True), other, *parts)


def test_machine_settings_may_change_between_the_two(tmp_path: Path) -> None:
    """Another number of workers, or the data elsewhere, is the same run."""
    parts = _parts()
    RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts).save(*parts)
    config = TrainConfig(out=tmp_path, resume=True, workers=0, data_dir=Path("elsewhere"))
    assert RunState.open(config, DIGESTS, *parts).step == 0


def test_interrupted_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    """Neither continued nor discarded without being asked."""
    parts = _parts()
    RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts).save(*parts)
    with pytest.raises(ValueError, match=r"Add --resume to continue it or --restart"):
        RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts)
    assert RunState.open(TrainConfig(out=tmp_path, restart=True), DIGESTS, *parts).epoch == 0


def test_nothing_to_continue_is_said(tmp_path: Path) -> None:
    """--resume in an empty folder is an error, not a new run."""
    with pytest.raises(ValueError, match=r"expected an interrupted run in .*, found none"):
        RunState.open(TrainConfig(out=tmp_path, resume=True), DIGESTS, *_parts())


def test_finished_run_leaves_no_state(tmp_path: Path) -> None:
    """After registration the folder can be trained in again."""
    parts = _parts()
    state = RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts)
    state.save(*parts)
    state.close()
    assert RunState.open(TrainConfig(out=tmp_path), DIGESTS, *parts).epoch == 0


def test_best_epoch_is_the_first_of_the_highest_srocc(tmp_path: Path) -> None:
    """A later epoch must be better, not equal; NaN is never best after a number."""
    state = RunState.open(TrainConfig(out=tmp_path), DIGESTS, *_parts())
    verdicts = []
    for srocc in (0.5, 0.7, 0.7, math.nan, 0.6):
        state.end_epoch()
        row = {"srocc": srocc, "rmse_100": 9.0 - len(verdicts)}
        verdicts.append(state.is_best(row, QUALITY.rank))
    assert verdicts[:4] == [True, True, False, False]
    assert state.best_epoch == 2
