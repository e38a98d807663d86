"""A sweep: trains the cells that are not finished yet, ranks all, moves the alias."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork

from training.compute.parallel import expect_one_process
from training.data import ratings
from training.experiments import leaderboard
from training.experiments.sweep_cells import OWN_OPTIONS, Cell, weights_for
from training.experiments.sweep_record import SweepRecord, parent_run, shared_settings
from training.loop.config import TrainConfig
from training.loop.run_state import STATE_FILE
from training.loop.starting_weights import start_from
from training.loop.task_settings import expect_settings_of
from training.loop.trainer import BEST
from training.loop.training_run import TRAIN_SECONDS, train
from training.registry import model_versions
from training.registry.address import connect
from training.registry.promotion import Registered, promote_if_better
from training.tasks.task import TrainingTask
from training.tasks.task_table import task_of_data

logger = logging.getLogger(__name__)


def sweep(config: TrainConfig, cells: list[Cell], weights_of: dict[str, str]) -> Registered:
    """
    Train the cells that are not finished yet; rank all finished ones; move the alias.

    Args:
        config: What all cells share; `out` is the sweep's folder, `alias` the best cell's.
        cells: The cells to train.
        weights_of: Starting weights by backbone, where they are not `config.weights`.

    Returns:
        The version of the best finished cell, by validation.

    Raises:
        ValueError: The folder holds a sweep with other settings or pictures, or a cell failed.
        KeyboardInterrupt: Interrupted; the same command continues.
    """
    expect_one_process("training.sweep")
    title = config.run_name or f"sweep-{config.dataset}"
    weights = {
        cell: weights_of.get(cell.backbone, weights_for(cell.backbone, config.weights))
        for cell in cells
    }
    task = task_of_data(config)
    expect_settings_of(task, config)
    data = ratings.load(config, targets=task.targets, policy=task.policy_of(config))
    record = SweepRecord.open(
        config.out or Path("runs") / f"sweep-{config.dataset}",
        # Weights are kept cell by cell.
        settings=shared_settings(config, without=(*OWN_OPTIONS, "weights")),
        digests={name: split.digest() for name, split in data.splits.items()},
    )
    for cell, value in weights.items():
        record.check_weights(str(cell), value)
    missing = [cell for cell in weights if str(cell) not in record.cells]
    # A wrong file is found now and not hours later, before the backbone's first cell.
    for backbone, value in {cell.backbone: weights[cell] for cell in missing}.items():
        start_from(ImageNetwork(backbone), value)
    logger.info("%s: %d of %d cells to train", record.directory, len(missing), len(weights))
    connect()
    plot_title = f"{title}: {task.leading.title}, {len(data.splits['test'])} test images"
    with parent_run(config.experiment, title, record) as parent_run_id:
        failed: list[str] = []
        for number, cell in enumerate(missing, start=1):
            logger.info("cell %d of %d: %s", number, len(missing), cell)
            try:
                record.cells[str(cell)] = _run_cell(config, cell, weights[cell], record)
            except ValueError as error:  # it diverged, say: the other cells can still be trained
                failed.append(f"cell {cell}: {error}")
                logger.warning("%s", failed[-1])
                continue
            record.save()
            table = _publish(record, task, plot_title, parent_run_id)
            print(leaderboard.as_text(table, task), flush=True)
        if failed:
            raise ValueError(f"{len(failed)} cells failed: {'; '.join(failed)}")
        table = _publish(record, task, plot_title, parent_run_id)
        if not missing:
            print(leaderboard.as_text(table, task))
        print(f"written: {record.directory}/leaderboard.md, leaderboard.csv, leaderboard.svg")
        best = _best(config, task, table, record)
        if config.alias:
            _promote(config.alias, best, data.splits["val"])
    return best


def _run_cell(config: TrainConfig, cell: Cell, weights: str, record: SweepRecord) -> dict[str, Any]:
    """Train one cell, or go on with it; return what the record keeps."""
    directory = record.directory / str(cell).replace(":", "-")
    settings = dataclasses.replace(
        config,
        backbone=cell.backbone,
        lr=cell.lr,
        epochs=cell.epochs,
        weights=weights,
        out=directory,
        resume=(directory / STATE_FILE).exists(),
        alias=None,
        run_name=None,
    )
    registered = train(settings, parent_run_id=record.parent_run_id)
    assert registered is not None  # alone, this is the first process
    run_id = str(model_versions.get(registered.name, registered.version).run_id)
    return {
        "backbone": cell.backbone,
        "lr": cell.lr,
        "epochs": cell.epochs,
        "weights": weights,
        "best_epoch": checkpoint.load_card(directory / BEST)["training"]["epoch"],
        "seconds": mlflow.get_run(run_id).data.metrics[TRAIN_SECONDS],
        "version": registered.version,
        "run_id": run_id,
        "metrics": registered.metrics,
    }


def _publish(
    record: SweepRecord, task: TrainingTask, title: str, parent_run_id: str
) -> pd.DataFrame:
    """Rank the finished cells; write tables and plot to the folder and the parent run."""
    table = leaderboard.ranked(record.cells, task)
    client = mlflow.MlflowClient()
    for path in leaderboard.write(table, task, title, record.directory):
        client.log_artifact(parent_run_id, str(path))
    for metric in task.shown:
        for key in (f"val_{metric.key}", f"test_{metric.key}"):
            if key in table:
                client.log_metric(parent_run_id, f"best_{key}", float(table[key][0]))
    client.set_tag(parent_run_id, "best_version", str(table["version"][0]))
    return table


def _best(
    config: TrainConfig, task: TrainingTask, table: pd.DataFrame, record: SweepRecord
) -> Registered:
    """Return the first of the ranking as the registry knows it."""
    version = str(table["version"][0])
    cell = next(cell for cell in record.cells.values() if cell["version"] == version)
    return Registered(
        name=config.model_name,
        version=version,
        task=task,
        metrics=cell["metrics"],
        digests=record.digests,
    )


def _promote(alias: str, best: Registered, val: ratings.Split) -> None:
    holder = model_versions.holder_of(best.name, alias)
    if holder is not None and str(holder.version) == best.version:
        print(f"{alias} stays at version {best.version}: the best of this sweep")
        return
    promote_if_better(alias, best, val)
