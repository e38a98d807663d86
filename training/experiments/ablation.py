"""An ablation: trains the recipe and its variants, and compares what they say of each image."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np

from training.compute.device import choose_device
from training.compute.parallel import expect_one_process
from training.data import ratings
from training.data.ratings import Ratings, Split
from training.experiments import ablation_table
from training.experiments.ablation_rows import (
    MIRRORED,
    RECIPE,
    Variant,
    expect_own_rows,
    folder_of,
)
from training.experiments.leave_one_set_out import LEFT_OUT, leave_out
from training.experiments.sweep_record import SweepRecord, parent_run, shared_settings
from training.loop.config import TrainConfig
from training.loop.run_state import STATE_FILE
from training.loop.task_settings import expect_settings_of
from training.loop.trainer import Trainer
from training.measure.predict import predict, torch_predictor, with_mirror_image
from training.networks import by_name as networks
from training.registry.address import connect
from training.tasks.task_table import QUALITY, task_of_data

logger = logging.getLogger(__name__)

QUALITY_FILE: Final = "validation.npy"
QUALITY_ELSEWHERE_FILE: Final = "left-out.npy"


def ablate(recipe: TrainConfig, variants: Sequence[Variant], without: Sequence[str] = ()) -> int:
    """
    Train what is not trained yet, and write the table and its plot.

    Args:
        recipe: The settings that the variants change; `out` is the folder of all.
        variants: What to change.
        without: Patterns of names that are left out of training, and compared on.

    Returns:
        0.

    Raises:
        ValueError: The folder holds an ablation of another recipe or of other images, or a variant
            would be taken for another one.
        KeyboardInterrupt: Interrupted; the same command continues.
    """
    expect_one_process("training.ablation")
    if task_of_data(recipe) is not QUALITY:
        raise ValueError(f"--dataset: expected ratings of quality, got {recipe.dataset}.")
    for variant in variants:
        expect_settings_of(QUALITY, dataclasses.replace(recipe, **variant.changes))
    choose_device(recipe.device)  # no such device? said now
    connect()
    data = ratings.load(recipe, policy=QUALITY.policy_of(recipe))
    if without:
        data = leave_out(data, without)
        logger.info("with a set left out: %s", data.counts())
    record = SweepRecord.open(
        recipe.out or Path("runs") / f"ablation-{recipe.dataset}",
        settings=shared_settings(recipe, without=("run_name",)),
        digests={name: split.digest() for name, split in data.splits.items()},
    )
    expect_own_rows(variants, record.cells)
    title = recipe.run_name or f"ablation-{recipe.dataset}"
    with parent_run(recipe.experiment, title, record) as parent_run_id:
        for variant in (Variant(RECIPE, {}), *variants):
            if variant.name in record.cells:
                continue
            logger.info("%s: %s", variant.name, variant.changes or "as it is")
            record.cells |= _train_variant(recipe, variant, data, record)
            record.save()
        split, file = compared_on(data)
        rows = ablation_table.compare(record, RECIPE, file, split.target)
        for path in ablation_table.write(rows, record.directory):
            mlflow.MlflowClient().log_artifact(parent_run_id, str(path))
    print(ablation_table.as_markdown(rows))
    print(f"written: {record.directory}/ablation.md, ablation.csv, ablation.svg")
    return 0


def compared_on(data: Ratings) -> tuple[Split, str]:
    """Return the images that the variants are compared on, and the file of what each says."""
    if LEFT_OUT in data.splits:
        return data.splits[LEFT_OUT], QUALITY_ELSEWHERE_FILE
    return data.splits["val"], QUALITY_FILE


def _train_variant(
    recipe: TrainConfig, variant: Variant, data: Ratings, record: SweepRecord
) -> dict[str, dict[str, Any]]:
    """Train one variant, or go on with it; keep its predictions; return its rows of the record."""
    directory = record.directory
    out = directory / folder_of(variant.name)
    config = dataclasses.replace(
        recipe,
        out=out,
        run_name=variant.name,
        resume=(out / STATE_FILE).exists(),
        **variant.changes,
    )
    policy = QUALITY.policy_of(config)
    splits = {name: split.seen_by(policy) for name, split in data.splits.items()}
    data = dataclasses.replace(data, splits=splits)
    trainer = Trainer(config, QUALITY, data, record.digests)
    with trainer.tracked(record.parent_run_id) as run_id:
        trainer.run()
        network, _ = networks.load(trainer.best)
        predictor = torch_predictor(network.to(trainer.device), trainer.device)
        predictors = {variant.name: predictor}
        if variant.name == RECIPE:
            predictors[MIRRORED] = with_mirror_image(predictor)
        rows = {}
        for name, one in predictors.items():
            folder = directory / folder_of(name)
            folder.mkdir(exist_ok=True)
            split, file = compared_on(data)
            np.save(folder / file, predict(one, split, workers=config.workers, title="to compare"))
            rows[name] = {
                "folder": folder.name,
                "changes": variant.recorded,
                "best_epoch": trainer.state.best_epoch,
                "seconds": round(trainer.state.epoch_seconds),
                "run_id": run_id,
            }
        trainer.state.close()
    return rows
