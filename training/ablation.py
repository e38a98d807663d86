"""
What each part of the recipe is worth: `python -m training.ablation --help`.

The recipe is trained once as it is and once for each change; all are compared on the validation
pictures, by a bootstrap that draws the same pictures for both. The test split is not looked at and
nothing is registered. An ablation continues where it stopped, as a sweep does.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import torch
from iqa import checkpoint
from torch import Tensor

from training import ablation_table, command_line, ratings
from training.ablation_rows import CHANGES, MIRRORED, RECIPE, Mean, Variant, folder_of
from training.config import TrainConfig, add_options, train_config
from training.device import choose_device
from training.fit import BEST, fitted
from training.mean_network import mean_network
from training.parallel import expect_alone
from training.predict import mirrored_too, predict, torch_judge
from training.ratings import Ratings, Split
from training.run_state import STATE_FILE
from training.sweep_record import SweepRecord, parent_run, shared_settings
from training.tracking_uri import add_tracking_uri, connect

logger = logging.getLogger(__name__)

QUALITY_FILE: Final = "validation.npy"


def main(argv: list[str] | None = None) -> int:
    """Run an ablation from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.ablation",
        description="Train the recipe, and the recipe with one thing changed, on the same "
        "pictures; compare them on validation. The options are training.train's: they are the "
        "recipe.",
    )
    parser.add_argument(
        "--changes", nargs="+", type=Variant.parse, metavar="NAME:SETTING=VALUE",
        default=[Variant.parse(text) for text in CHANGES],
        help="what to try (default: " + ", ".join(f"'{text}'" for text in CHANGES) + ")",
    )  # fmt: skip
    parser.add_argument(
        "--means", nargs="+", type=Mean.parse, metavar="NAME:ROW+ROW", default=[],
        help="means of the weights of rows trained with --norm frozen, e.g. 'two seeds:"
        f"{RECIPE}+another seed'",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder (default: runs/ablation-DATASET)")
    own = ("out", "resume", "restart", "alias", "model_name")
    add_options(parser, TrainConfig, without=own)
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: ablate(train_config(arguments), arguments.changes, arguments.means),
        arguments.debug,
    )


def ablate(recipe: TrainConfig, variants: Sequence[Variant], means: Sequence[Mean] = ()) -> int:
    """
    Train what is not trained yet, and write the table and its plot.

    Args:
        recipe: The settings that the variants change; `out` is the folder of all.
        variants: What to change.
        means: Of the networks of which of them (or of the recipe) to take the mean.

    Returns:
        0.

    Raises:
        ValueError: The folder holds an ablation of another recipe or of other pictures, or a mean
            cannot be taken.
        KeyboardInterrupt: Interrupted; the same command continues.
    """
    expect_alone("training.ablation")
    device = choose_device(recipe.device)
    connect()
    data = ratings.load(recipe)
    digests = {name: split.digest() for name, split in data.splits.items()}
    record = SweepRecord.open(
        recipe.out or Path("runs") / f"ablation-{recipe.dataset}",
        settings=shared_settings(recipe, without=("run_name",)),
        digests=digests,
    )
    title = recipe.run_name or f"ablation-{recipe.dataset}"
    for mean in means:
        mean.expect_rows({RECIPE, *record.cells, *(variant.name for variant in variants)})
    with parent_run(recipe.experiment, title, record) as parent_run_id:
        for variant in (Variant(RECIPE, {}), *variants):
            if variant.name in record.cells:
                continue
            logger.info("%s: %s", variant.name, variant.changes or "as it is")
            found = _try(recipe, variant, data, digests, record.directory, parent_run_id, device)
            record.cells |= found
            record.save()
        for mean in means:
            if mean.name not in record.cells:
                val = data.splits["val"]
                record.cells[mean.name] = _try_mean(mean, record, val, device, recipe.workers)
                record.save()
        rows = ablation_table.compare(record, RECIPE, QUALITY_FILE, data.splits["val"].quality)
        for path in ablation_table.write(rows, record.directory):
            mlflow.MlflowClient().log_artifact(parent_run_id, str(path))
    print(ablation_table.as_markdown(rows))
    print(f"written: {record.directory}/ablation.md, ablation.csv, ablation.svg")
    return 0


def _try(
    recipe: TrainConfig,
    variant: Variant,
    data: Ratings,
    digests: dict[str, str],
    directory: Path,
    parent_run_id: str,
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    """Train one variant, or go on with it; keep its validation scores; return its record."""
    out = directory / folder_of(variant.name)
    config = dataclasses.replace(
        recipe,
        out=out,
        run_name=variant.name,
        resume=(out / STATE_FILE).exists(),
        **variant.changes,
    )
    val = data.splits["val"]
    with fitted(config, data, digests, parent_run_id) as (state, run_id):
        network, _ = checkpoint.load(out / BEST)
        judge = torch_judge(network.to(device), device)
        judges = {variant.name: judge}
        if variant.name == RECIPE:
            judges[MIRRORED] = mirrored_too(judge)
        found = {
            name: {
                "folder": _judged(name, one, val, directory, config.workers),
                "changes": {key: str(value) for key, value in variant.changes.items()},
                "best_epoch": state.best_epoch,
                "seconds": round(state.epoch_seconds),
                "run_id": run_id,
            }
            for name, one in judges.items()
        }
        state.close()
    return found


def _try_mean(
    mean: Mean, record: SweepRecord, val: Split, device: torch.device, workers: int
) -> dict[str, Any]:
    """Judge the mean of networks that are trained; return its record."""
    cells = [record.cells[member] for member in mean.members]
    folders = [record.directory / cell["folder"] for cell in cells]
    network = mean_network([checkpoint.load(folder / BEST)[0] for folder in folders])
    judge = torch_judge(network.to(device), device)
    return {
        "folder": _judged(mean.name, judge, val, record.directory, workers),
        "changes": {"mean_of": ", ".join(mean.members)},
        "best_epoch": max(cell["best_epoch"] for cell in cells),
        "seconds": sum(cell["seconds"] for cell in cells),
        "run_id": None,
    }


def _judged(
    name: str, judge: Callable[[Tensor], Tensor], val: Split, directory: Path, workers: int
) -> str:
    """Keep a row's qualities of the validation pictures; return the name of its folder."""
    folder = directory / folder_of(name)
    folder.mkdir(exist_ok=True)
    np.save(folder / QUALITY_FILE, predict(judge, val, workers=workers, title="validation"))
    return folder.name


if __name__ == "__main__":
    sys.exit(main())
