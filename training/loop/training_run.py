"""
One run of training, read downward: data, epochs, calibration, test, registration.

The epochs are `training.loop.trainer`'s.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import mlflow
from iqa.network import checkpoint
from iqa.network.names import is_own
from iqa.network.runtime import GRAPH_FILE

from console.default_names import DVC_LOCK
from training.compute.device import choose_device
from training.compute.parallel import process_group
from training.data import ratings
from training.data.ratings import Ratings
from training.data.targets import some
from training.graph import export
from training.loop.config import TrainConfig
from training.loop.task_settings import expect_settings_of
from training.loop.trainer import Trainer
from training.measure import evaluation, plots
from training.measure.predict import predict, torch_predictor
from training.networks import by_name as networks
from training.registry import dvc_lock, model_versions, promotion
from training.registry.address import connect
from training.tasks.task import TrainingTask
from training.tasks.task_table import task_of_data

logger = logging.getLogger(__name__)

HISTORY_FILE: Final = "history.json"
TRAIN_SECONDS: Final = "train_seconds"
OF_A_COMMIT: Final = ("git_commit", "git_is_dirty")
_LOCAL_SETTINGS: Final = frozenset(
    {"data_dir", "cache", "labels", "out", "resume", "restart", "weights", "teacher", "digests"}
)
"""Settings that may name places on this machine: they stay out of the card that is shipped."""


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
    with process_group(device) as processes:
        if processes.is_first:
            connect()
            model_versions.holder_of(
                config.model_name, config.alias or model_versions.ALIAS
            )  # away? said now
        task = task_of_data(config)
        expect_settings_of(task, config)
        data = ratings.load(config, targets=task.targets, policy=task.policy_of(config))
        digests = {name: split.digest() for name, split in data.splits.items()}
        warn_of_duplicates(data)
        trainer = Trainer(config, task, data, digests, processes)
        if is_own(config.backbone) and processes.is_first:
            export.try_export(trainer.network)
        with trainer.tracked(parent_run_id) as run_id:
            trainer.run()
            if not processes.is_first:
                return None
            facts = {**evaluate(trainer, config, task, data), **origin(trainer, data, digests)}
            card = checkpoint.change_card(trainer.best, facts)
            keep_lock(trainer, config)
            with graph_of_own(trainer.best, config) as graph:
                registered = promotion.register(
                    config.model_name, run_id, trainer.best, card, graph
                )
            trainer.state.close()
            if config.alias:
                promotion.promote_if_better(config.alias, registered, data.splits["val"])
    return registered


def evaluate(
    trainer: Trainer, config: TrainConfig, task: TrainingTask, data: Ratings
) -> checkpoint.Card:
    """
    Calibrate the best epoch's network on validation, then test it once; log metrics and plots.

    Returns:
        What the card says of both: `metrics`, and where it could be fitted the calibration.
    """
    network, card = networks.load(trainer.best)
    predictor = torch_predictor(network.to(trainer.device), trainer.device)
    splits = {name: data.splits[name] for name in ("val", "test")}
    outputs = {
        name: predict(predictor, split, workers=config.workers, title=name)
        for name, split in splits.items()
    }
    calibration = task.calibrate(outputs["val"], splits["val"])
    # On validation a calibration would be measured on the images that it was fitted on.
    facts = {"val": card, "test": {**card, **calibration}}
    metrics = {}
    for name, split in splits.items():
        found = task.evaluate(outputs[name], split.target, facts[name])
        numbers = evaluation.numbers(found)
        mlflow.log_metrics({f"best_{name}_{key}": value for key, value in numbers.items()})
        figure = task.plot(outputs[name], split.target, title=f"{name} split")
        if figure is not None:
            mlflow.log_figure(figure, f"plots/{name}.png")
        metrics[name] = found
    history = trainer.state.history
    mlflow.log_figure(plots.history(history, task.leading.key), "plots/history.png")
    (trainer.state.directory / HISTORY_FILE).write_text(json.dumps(history, indent=2) + "\n")
    mlflow.log_artifact(str(trainer.state.directory / HISTORY_FILE))
    # Not in the card: the same run has the same card.
    mlflow.log_metric(TRAIN_SECONDS, round(trainer.state.epoch_seconds))
    return {**calibration, "metrics": metrics}


@contextmanager
def graph_of_own(best: Path, config: TrainConfig) -> Iterator[Path | None]:
    """Export a user's own network: MLflow's tools run the graph, and need not import its code."""
    if not is_own(config.backbone):
        yield None
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "f32"
        folder.mkdir()
        export.export_onnx(networks.load(best)[0], folder / GRAPH_FILE)
        yield folder


def warn_of_duplicates(data: Ratings) -> None:
    """Say which images are in two splits: what is measured on them flatters."""
    found = data.duplicates()
    if found:
        logger.warning(
            "%d images are in two splits, byte for byte: %s", len(found),
            some(f"{one} = {other}" for one, other in found),
        )  # fmt: skip


def origin(trainer: Trainer, data: Ratings, digests: dict[str, str]) -> checkpoint.Card:
    """Return what the card says of the data and the training."""
    state = trainer.state
    # The lock names data and code by content. A commit in the card would make the files that the
    # lock describes depend on the commit that adds the lock; the run's tags have it.
    left_out = OF_A_COMMIT if dvc_lock.DATA_HASH in state.provenance else ()
    return {
        "data": {
            "dataset": data.name,
            **({} if data.mos_range is None else {"mos_range": list(data.mos_range)}),
            "is_official_split": data.is_official,
            "counts": data.counts(),
            "digests": digests,
        },
        "training": {
            "epoch": state.best_epoch,
            "settings": {k: v for k, v in state.settings.items() if k not in _LOCAL_SETTINGS},
            **{k: v for k, v in state.provenance.items() if k not in left_out},
        },
    }


def keep_lock(trainer: Trainer, config: TrainConfig) -> None:
    """Keep what DVC has on record of the data, with the run and with the checkpoint."""
    found = dvc_lock.origin_of(config.data_dir)
    if found is None:  # one of an earlier run in this folder would be registered with this one
        (trainer.best / DVC_LOCK).unlink(missing_ok=True)
        return
    mlflow.log_text(found.lock, DVC_LOCK)
    (trainer.best / DVC_LOCK).write_text(found.lock)


def report(registered: promotion.Registered | None) -> int:
    """Print what the run gave, and what to do next."""
    if registered is None:
        return 0
    test = registered.task.sentence(registered.metrics["test"])
    print(
        f"{registered.name} version {registered.version}: test {test}\n"
        f"next: python -m scripts.build_mar --model-name {registered.name} "
        f"--version {registered.version}"
    )
    return 0
