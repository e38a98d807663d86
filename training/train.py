"""
Train one network and register it: `python -m training.train --help`.

One page, read downward: data, network, steps, choice of the epoch, test, registration.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from typing import Any

import mlflow
import torch
from iqa import checkpoint
from iqa.model import QualityNetwork
from iqa.score import ScoreScale
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from training import (
    calibrate,
    command_line,
    findings,
    plots,
    promotion,
    ratings,
    registry,
    tracking,
)
from training.backbone_weights import start_from
from training.config import TrainConfig, add_options, train_config
from training.device import autocast, choose_device, prepare, uses_bf16
from training.losses import LOSSES
from training.metrics import agreement
from training.optimisation import average_of, judged, optimizer_of, rate_factor
from training.pictures import EpochBatches, TrainingCrops, leave_interrupts_to_parent
from training.predict import predict, torch_judge
from training.ratings import Ratings
from training.run_state import Interruption, RunState
from training.tracking_uri import connect

logger = logging.getLogger(__name__)

BEST = "best"
SAVE_EVERY_S = 120.0


def main(argv: list[str] | None = None) -> int:
    """Train from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a network on rated pictures, log it to MLflow, register the version.",
        epilog="Quick try: python -m training.demo_data --out demo/data && python -m "
        "training.train --data-dir demo/data --weights none --epochs 1 --limit 32",
    )
    add_options(parser, TrainConfig)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(lambda: report(train(train_config(arguments))), arguments.debug)


def train(config: TrainConfig, parent_run_id: str | None = None) -> promotion.Registered:
    """
    Train one network; register it; move the alias if it is better.

    Args:
        config: The run.
        parent_run_id: The sweep it belongs to.

    Returns:
        The registered version and its metrics.

    Raises:
        ValueError: The data, the settings or the starting weights are refused.
        RegistryUnavailable: MLflow does not answer; nothing was started.
        KeyboardInterrupt: Interrupted; the state is saved, `--resume` continues.
    """
    device = choose_device(config.device)
    prepare(config.seed, device)
    connect()
    registry.holder_of(config.model_name, config.alias or registry.ALIAS)  # away? said now
    data = ratings.load(config)
    digests = {name: split.digest() for name, split in data.splits.items()}

    network = QualityNetwork(config.backbone, config.dropout)
    start_from(network, config.weights, float(data.splits["train"].quality.mean()))
    network.to(device)
    # Faster on CPU and GPU; torch's stubs lack the argument.
    network.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizer_of(network, config)
    average = average_of(network, config.ema_decay)
    state = RunState.open(config, digests, network, optimizer, average)

    with tracking.run(config.experiment, config.title, state.run_id, parent_run_id) as run_id:
        if state.run_id is None:
            state.run_id = run_id
            state.provenance = tracking.provenance()
            mlflow.log_params({k: str(v) for k, v in dataclasses.asdict(config).items()})
            mlflow.set_tags(state.provenance)
            mlflow.set_tags({f"digest_{name}": digest for name, digest in digests.items()})
            tracking.log_inputs(data, digests)
        with Interruption() as interruption:
            while state.epoch < config.epochs:
                _one_epoch(config, data, network, optimizer, average, state, interruption)
                _validate(config, data, judged(network, average), state)
                state.save(network, optimizer, average)
                _stop_if_asked(interruption, state)
        card = _finish(config, data, digests, state)
        registered = promotion.register(config.model_name, run_id, state.directory / BEST, card)
        state.close()
        if config.alias:
            promotion.promote_if_better(config.alias, registered, data.splits["val"])
    return registered


def report(registered: promotion.Registered) -> int:
    """Print what the run gave, and what to do next."""
    test = registered.metrics["test"]
    low, high = test["srocc_ci95"]
    shown = test.get("calibrated", test)
    print(
        f"{registered.name} version {registered.version}: test SROCC {test['srocc']:.4f} "
        f"[{low:.4f}, {high:.4f}], PLCC {test['plcc']:.4f}, RMSE_100 {shown['rmse_100']:.2f}, "
        f"MAE_100 {shown['mae_100']:.2f}{' calibrated' if 'calibrated' in test else ''}\n"
        f"next: python -m scripts.build_mar --version {registered.version}"
    )
    return 0


def _one_epoch(
    config: TrainConfig,
    data: Ratings,
    network: QualityNetwork,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel | None,
    state: RunState,
    interruption: Interruption,
) -> None:
    device = next(network.parameters()).device
    is_bf16 = uses_bf16(config.precision, device)
    loss_of = LOSSES[config.loss]
    crops = TrainingCrops(data.splits["train"], config.crop_px, config.seed)
    batches = EpochBatches(len(crops), config.batch_size, config.seed)
    crops.epoch = batches.epoch = state.epoch
    batches.first_step = state.step
    loader = DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=config.workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_interrupts_to_parent,
        generator=torch.Generator(),  # its own: the global one belongs to dropout, and to --resume
    )
    total_steps = config.epochs * len(batches)
    saved_at = started = time.monotonic()
    network.train()
    title = f"epoch {state.epoch + 1}/{config.epochs}"
    with tqdm(total=len(batches), initial=state.step, desc=title, unit="step") as bar:
        for pixels_NHWC, target in loader:
            factor = rate_factor(
                state.epoch * len(batches) + state.step, total_steps, config.warmup
            )
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            with autocast(device, is_bf16):
                quality = network(pixels_NHWC.to(device, non_blocking=True))
            loss = loss_of(quality, target.to(device, non_blocking=True))
            if not torch.isfinite(loss):
                raise ValueError(
                    f"loss: expected a finite number, got {loss.item()} in epoch "
                    f"{state.epoch + 1}, step {state.step}. Lower --lr."
                )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            optimizer.step()
            if average is not None:
                average.update_parameters(network)
            state.after_step(float(loss.item()))
            bar.update()
            bar.set_postfix(loss=f"{state.mean_loss:.4f}")
            if interruption.is_requested:
                state.save(network, optimizer, average)
                _stop_if_asked(interruption, state)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                state.save(network, optimizer, average)
                saved_at = time.monotonic()
    state.epoch_seconds += time.monotonic() - started
    state.end_epoch()


def _stop_if_asked(interruption: Interruption, state: RunState) -> None:
    """Leave a run that is saved and that somebody wants to end."""
    if interruption.is_requested:
        logger.warning("saved in %s; continue with --resume", state.directory)
        raise KeyboardInterrupt


def _validate(config: TrainConfig, data: Ratings, network: QualityNetwork, state: RunState) -> None:
    """Measure the epoch on validation; keep the network if its SROCC is the best so far."""
    device = next(network.parameters()).device
    val = data.splits["val"]
    quality = predict(torch_judge(network, device), val, workers=config.workers, title="validation")
    row = {"loss": state.history_loss, **agreement(quality, val.quality)}
    mlflow.log_metrics({f"val_{k}": v for k, v in row.items() if k != "loss"}, step=state.epoch)
    mlflow.log_metric("train_loss", row["loss"], step=state.epoch)
    logger.info(
        "epoch %d: loss %.4f, validation SROCC %.4f, PLCC %.4f, RMSE_100 %.2f",
        state.epoch, row["loss"], row["srocc"], row["plcc"], row["rmse_100"],
    )  # fmt: skip
    if state.is_best(row):
        checkpoint.save(state.directory / BEST, network, {"epoch": state.epoch})


def _finish(
    config: TrainConfig, data: Ratings, digests: dict[str, str], state: RunState
) -> checkpoint.Card:
    """Calibrate the best epoch's network, test it; write its card, log metrics and plots."""
    device = choose_device(config.device)
    network, _ = checkpoint.load(state.directory / BEST)
    network.to(device)
    measured: dict[str, dict[str, Any]] = {}
    scores: dict[str, Any] = {}
    for name in ("val", "test"):
        split = data.splits[name]
        judge = torch_judge(network, device)
        quality = predict(judge, split, workers=config.workers, title=name)
        # On validation a calibration would be measured on the pictures that it was fitted on.
        scale = ScoreScale.of_card(scores if name == "test" else {})
        measured[name] = findings.measure(quality, split.quality, scale)
        if name == "val":
            scores = calibrate.fit_if_possible(quality, split)
        numbers = {k: v for k, v in measured[name].items() if isinstance(v, float)}
        for part in ("calibrated", "interval"):
            told = measured[name].get(part, {})
            numbers |= {f"{part}_{k}": v for k, v in told.items() if isinstance(v, float)}
        mlflow.log_metrics({f"best_{name}_{k}": v for k, v in numbers.items()})
        figure = plots.predicted_against_rated(quality, split.quality, title=f"{name} split")
        mlflow.log_figure(figure, f"plots/{name}.png")
    mlflow.log_figure(plots.history(state.history), "plots/history.png")
    mlflow.log_text(json.dumps(state.history, indent=2), "history.json")
    return checkpoint.save(
        state.directory / BEST,
        network,
        {
            **scores,
            "metrics": measured,
            "data": {
                "dataset": data.name,
                "mos_range": list(data.mos_range),
                "is_official_split": data.is_official,
                "counts": data.counts(),
                "digests": digests,
            },
            "training": {
                "epoch": state.best_epoch,
                "seconds": round(state.epoch_seconds),
                "settings": {k: v for k, v in state.settings.items() if k not in _LOCAL_SETTINGS},
                **state.provenance,
            },
        },
    )


_LOCAL_SETTINGS = frozenset(
    {"data_dir", "labels", "out", "resume", "restart", "weights", "digests"}
)
"""Settings that may name places on this machine: they stay out of the card that is shipped."""


if __name__ == "__main__":
    sys.exit(main())
