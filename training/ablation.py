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
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import torch
from iqa import checkpoint

from training import ablation_table, command_line, ratings
from training.config import TrainConfig, add_options, train_config
from training.device import choose_device
from training.fit import BEST, fitted
from training.parallel import expect_alone
from training.predict import mirrored_too, predict, torch_judge
from training.ratings import Ratings
from training.run_state import STATE_FILE
from training.sweep_record import SweepRecord, parent_run, shared_settings
from training.tracking_uri import connect

logger = logging.getLogger(__name__)

RECIPE: Final = "the recipe"
MIRRORED: Final = "the recipe, mean with the mirror image (two passes)"
QUALITY_FILE: Final = "validation.npy"
CHANGES: Final = (
    "another seed:seed=1",
    "MSE alone:loss=mse",
    "Huber for MSE:loss=huber+nin",
    "rank term for Norm-in-Norm:loss=mse+rank",
    "rank term as well:loss=mse+nin+rank",
    "crops of 256:crop_px=256",
    "whole pictures:crop_px=448",
    "rates times 3:lr=9e-4",
    "rates over 3:lr=1e-4",
    "head no faster than the backbone:head_lr_factor=1",
    "moving average, 0.99 a step:ema_decay=0.99",
    "batches of 8:batch_size=8",
    "batches of 32:batch_size=32",
    "no dropout:dropout=0",
)
"""What is tried by default, each from the recipe."""


@dataclass(frozen=True)
class Variant:
    """
    The recipe with something changed.

    Attributes:
        name: For people.
        changes: Settings of `TrainConfig` that differ.
    """

    name: str
    changes: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read NAME:SETTING=VALUE[,SETTING=VALUE...]; for argparse."""
        name, _, settings = text.partition(":")
        known = {item.name: item for item in dataclasses.fields(TrainConfig)}
        changes: dict[str, Any] = {}
        try:
            for setting in settings.split(","):
                key, _, value = setting.partition("=")
                default: Any = known[key].default
                changes[key] = type(default)(value)
                if value not in known[key].metadata.get("choices", [value]) or not value:
                    raise ValueError(f"{key}={value}")
            dataclasses.replace(TrainConfig(), **changes)
        except (KeyError, ValueError) as error:
            raise argparse.ArgumentTypeError(
                f"expected NAME:SETTING=VALUE, e.g. 'MSE alone:loss=mse', got {text!r} ({error})."
            ) from error
        return cls(name, changes)


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
    parser.add_argument("--out", type=Path, help="folder (default: runs/ablation-DATASET)")
    own = ("out", "resume", "restart", "alias", "model_name")
    add_options(parser, TrainConfig, without=own)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(
        lambda: ablate(train_config(arguments), arguments.changes), arguments.debug
    )


def ablate(recipe: TrainConfig, variants: list[Variant]) -> int:
    """
    Train what is not trained yet, and write the table and its plot.

    Args:
        recipe: The settings that the variants change; `out` is the folder of all.
        variants: What to change.

    Returns:
        0.

    Raises:
        ValueError: The folder holds an ablation of another recipe or of other pictures.
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
    with parent_run(recipe.experiment, title, record) as parent_run_id:
        for variant in (Variant(RECIPE, {}), *variants):
            if variant.name in record.cells:
                continue
            logger.info("%s: %s", variant.name, variant.changes or "as it is")
            found = _try(recipe, variant, data, digests, record.directory, parent_run_id, device)
            record.cells |= found
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
    out = directory / _folder_of(variant.name)
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
        found = {}
        for name, one in judges.items():
            folder = directory / _folder_of(name)
            folder.mkdir(exist_ok=True)
            quality = predict(one, val, workers=config.workers, title="validation")
            np.save(folder / QUALITY_FILE, quality)
            found[name] = {
                "folder": folder.name,
                "changes": {key: str(value) for key, value in variant.changes.items()},
                "best_epoch": state.best_epoch,
                "seconds": round(state.epoch_seconds),
                "run_id": run_id,
            }
        state.close()
    return found


def _folder_of(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
