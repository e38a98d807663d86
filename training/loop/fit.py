"""
The epochs of a run: steps, validation after each, the best network kept, Ctrl-C survived.

Whoever trains goes through `fitted`: `training.train` measures and registers what it gives,
`training.ablation` only compares it on validation.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

import mlflow
import torch
from iqa.network import checkpoint
from iqa.network.model import QualityNetwork
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.compute.device import choose_device, prepare
from training.compute.fast_layers import make_fast
from training.compute.parallel import ALONE, Crew
from training.data.images import EpochBatches, TrainingCrops, leave_interrupts_to_parent
from training.data.ratings import Ratings, Split
from training.loop.backbone_weights import identity_of, start_from
from training.loop.config import TrainConfig
from training.loop.optimiser import judged
from training.loop.run_state import Interruption, RunState
from training.loop.schedule import rate_factor
from training.loop.step import Step
from training.measure.metrics import agreement
from training.measure.predict import predict, torch_judge
from training.registry import tracking

logger = logging.getLogger(__name__)

BEST: Final = "best"
"""Folder of the best epoch's checkpoint, in the run's."""
SAVE_EVERY_S: Final = 120.0


def starting_network(
    config: TrainConfig, mean_quality: float, device: torch.device
) -> QualityNetwork:
    """
    Return the network as it is before the first step, laid out for speed.

    Args:
        config: Names the backbone and its weights.
        mean_quality: Of the training pictures, in [0, 1]: what it says at first.
        device: Where it is put.

    Raises:
        ValueError: The weights are refused.
    """
    network = QualityNetwork(config.backbone, config.dropout, config.pooling)
    start_from(network, config.weights, mean_quality)
    make_fast(network.features, is_norm_frozen=config.norm == "frozen")
    network.to(device)
    # Faster on CPU and GPU; torch's stubs lack the argument.
    network.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@contextmanager
def fitted(
    config: TrainConfig,
    data: Ratings,
    digests: dict[str, str],
    parent_run_id: str | None = None,
    crew: Crew = ALONE,
) -> Iterator[tuple[RunState, str]]:
    """
    Train all epochs, or those that an interrupted run has left.

    Args:
        config: The run.
        data: Its pictures.
        digests: Of the splits.
        parent_run_id: The sweep or ablation it belongs to.
        crew: The processes that train it together; the first one saves and logs.

    Yields:
        Where the run stands, its best network in `BEST`, and the id of its MLflow run, which is
        open within the block (in the first process). Whoever has used them closes the state.

    Raises:
        ValueError: The settings or the starting weights are refused, or the loss is not finite.
        KeyboardInterrupt: Interrupted; the state is saved, `--resume` continues.
    """
    device = choose_device(config.device)
    prepare(config.seed, device)
    network = starting_network(config, float(data.splits["train"].quality.mean()), device)
    for name in ("batch_size", "damaged_pairs"):
        crew.expect_divides(f"--{name.replace('_', '-')}", getattr(config, name))
    step = Step(config, network, crew)
    state = RunState.open(config, digests, network, step.optimizer, step.average)
    run = tracking.run(config.experiment, config.title, state.run_id, parent_run_id)
    with run if crew.is_first else nullcontext("") as run_id:
        if state.run_id is None and crew.is_first:
            state.run_id = run_id
            began = {"starting_weights": identity_of(config.weights)}
            state.provenance = {**tracking.provenance(), **began}
            mlflow.log_params({k: str(v) for k, v in dataclasses.asdict(config).items()})
            mlflow.set_tags(state.provenance)
            mlflow.set_tags({f"digest_{name}": digest for name, digest in digests.items()})
            tracking.log_inputs(data, digests)
        with Interruption() as interruption:
            while state.epoch < config.epochs:
                _one_epoch(config, data, network, step, state, interruption, crew)
                _validate(config, data, network, step, state, crew)
                _save(network, step, state, crew)
                _stop_if_asked(interruption, state, crew)
        yield state, run_id


def epoch_batches(
    config: TrainConfig, split: Split, epoch: int, crew: Crew = ALONE
) -> EpochBatches:
    """Return this process's share of the batches of an epoch, damaged copies included."""
    batches = EpochBatches(len(split), config.batch_size, config.seed, config.damaged_pairs, crew)
    batches.epoch = epoch
    return batches


def picture_loader(
    config: TrainConfig, split: Split, batches: EpochBatches
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return what delivers these batches, decoded in other processes."""
    crops = TrainingCrops(split, config.crop_px, config.seed)
    crops.epoch = batches.epoch
    return DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=config.workers,
        pin_memory=choose_device(config.device).type == "cuda",
        worker_init_fn=leave_interrupts_to_parent,
        generator=torch.Generator(),  # its own: the global one belongs to dropout, and to --resume
    )


def _one_epoch(
    config: TrainConfig,
    data: Ratings,
    network: QualityNetwork,
    step: Step,
    state: RunState,
    interruption: Interruption,
    crew: Crew,
) -> None:
    batches = epoch_batches(config, data.splits["train"], state.epoch, crew)
    batches.first_step = state.step
    loader = picture_loader(config, data.splits["train"], batches)
    total_steps = config.epochs * len(batches)
    saved_at = started = time.monotonic()
    network.train()
    title = f"epoch {state.epoch + 1}/{config.epochs}"
    with tqdm(
        total=len(batches), initial=state.step, desc=title, unit="step", disable=not crew.is_first
    ) as bar:
        for pixels_NHWC, target in loader:
            steps_done = state.epoch * len(batches) + state.step
            factor = rate_factor(steps_done, total_steps, config.warmup, config.schedule)
            for group in step.optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            loss = step.forward(pixels_NHWC, target)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"loss: expected a finite number, got {loss.item()} in epoch "
                    f"{state.epoch + 1}, step {state.step}. Lower --lr."
                )
            step.backward(loss)
            step.update()
            state.after_step(float(loss.item()))
            bar.update()
            bar.set_postfix(loss=f"{state.mean_loss:.4f}")
            if crew.is_any(interruption.is_requested):
                interruption.is_requested = True
                _save(network, step, state, crew)
                _stop_if_asked(interruption, state, crew)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                _save(network, step, state, crew)
                saved_at = time.monotonic()
    state.epoch_seconds += time.monotonic() - started
    state.end_epoch()


def _save(network: QualityNetwork, step: Step, state: RunState, crew: Crew) -> None:
    if crew.is_first:
        state.save(network, step.optimizer, step.average)


def _stop_if_asked(interruption: Interruption, state: RunState, crew: Crew) -> None:
    """Leave a run that is saved and that somebody wants to end."""
    if crew.is_any(interruption.is_requested):
        logger.warning("saved in %s; continue with --resume", state.directory)
        raise KeyboardInterrupt


def _validate(
    config: TrainConfig,
    data: Ratings,
    network: QualityNetwork,
    step: Step,
    state: RunState,
    crew: Crew,
) -> None:
    """Measure the epoch on validation; keep the network if its SROCC is the best so far."""
    val = data.splits["val"]
    kept = judged(network, step.average)
    # In float32 whatever the steps were in: autocast moves SROCC by up to 0.005, more than what
    # lies between two epochs.
    judge = torch_judge(kept, next(kept.parameters()).device)
    part = predict(judge, val.part(crew.share), workers=config.workers, title="validation")
    quality = crew.assembled(part, len(val))
    row = {"loss": state.history_loss, **agreement(quality, val.quality)}
    is_best = state.is_best(row)
    if not crew.is_first:
        return
    mlflow.log_metrics({f"val_{k}": v for k, v in row.items() if k != "loss"}, step=state.epoch)
    mlflow.log_metric("train_loss", row["loss"], step=state.epoch)
    logger.info(
        "epoch %d: loss %.4f, validation SROCC %.4f, PLCC %.4f, RMSE_100 %.2f",
        state.epoch, row["loss"], row["srocc"], row["plcc"], row["rmse_100"],
    )  # fmt: skip
    if is_best:
        checkpoint.save(state.directory / BEST, kept, {"epoch": state.epoch})
