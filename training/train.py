"""
Train one network and register it: `python -m training.train --help`.

One page, read downward: data, epochs (`training.fit`), calibration, test, registration.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import mlflow
import torch
from iqa import checkpoint
from iqa.score import ScoreScale

from training import calibrate, command_line, findings, plots, promotion, ratings, registry
from training.config import TrainConfig, add_options, train_config
from training.device import choose_device
from training.fit import BEST, fitted
from training.parallel import crew
from training.predict import predict, torch_judge
from training.ratings import Ratings
from training.run_state import RunState
from training.tracking_uri import add_tracking_uri, connect


def main(argv: list[str] | None = None) -> int:
    """Train from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a network on rated pictures, log it to MLflow, register the version.",
        epilog="Several GPUs: torchrun --nproc-per-node 2 -m training.train ... "
        "Quick try: python -m training.demo_data --out demo/data && python -m "
        "training.train --data-dir demo/data --weights none --epochs 1 --limit 32",
    )
    add_options(parser, TrainConfig)
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(lambda: report(train(train_config(arguments))), arguments.debug)


def train(config: TrainConfig, parent_run_id: str | None = None) -> promotion.Registered | None:
    """
    Train one network; register it; move the alias if it is better.

    Args:
        config: The run.
        parent_run_id: The sweep it belongs to.

    Returns:
        The registered version and its metrics; None in the helpers that torchrun started.

    Raises:
        ValueError: The data, the settings or the starting weights are refused.
        RegistryUnavailable: MLflow does not answer; nothing was started.
        KeyboardInterrupt: Interrupted; the state is saved, `--resume` continues.
    """
    device = choose_device(config.device)  # no such device? said now
    with crew(device) as processes:
        if processes.is_first:
            connect()
            registry.holder_of(config.model_name, config.alias or registry.ALIAS)  # away? said now
        data = ratings.load(config)
        digests = {name: split.digest() for name, split in data.splits.items()}
        with fitted(config, data, digests, parent_run_id, processes) as (state, run_id):
            if not processes.is_first:
                return None
            card = _finish(config, data, digests, state, device)
            registered = promotion.register(config.model_name, run_id, state.directory / BEST, card)
            state.close()
            if config.alias:
                promotion.promote_if_better(config.alias, registered, data.splits["val"])
    return registered


def report(registered: promotion.Registered | None) -> int:
    """Print what the run gave, and what to do next."""
    if registered is None:
        return 0
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


def _finish(
    config: TrainConfig,
    data: Ratings,
    digests: dict[str, str],
    state: RunState,
    device: torch.device,
) -> checkpoint.Card:
    """Calibrate the best epoch's network, test it; write its card, log metrics and plots."""
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
    {"data_dir", "cache", "labels", "out", "resume", "restart", "weights", "digests"}
)
"""Settings that may name places on this machine: they stay out of the card that is shipped."""


if __name__ == "__main__":
    sys.exit(main())
