"""What a data set changes of a run's defaults, and the command line that knows it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from training.tasks.task_table import CLASSES, TASK_OF_DATASET

# Of photographs, from ImageNet's features.
OF_CLASSES: Final[dict[str, Any]] = {"batch_size": 32, "label_smoothing": 0.1}
OF_DATASET: Final[dict[str, dict[str, Any]]] = {
    "fashion_mnist": {
        "backbone": "residual_small", "weights": "none", "image_size": (28, 28), "channels": "L",
        "augment": ("flip",), "optimizer": "sgd", "lr": 0.1, "head_lr_factor": 1.0,
        "weight_decay": 5e-4, "batch_size": 128, "epochs": 14, "warmup": 0.1, "clip_norm": 5.0,
        "label_smoothing": 0.05,
    },
    "butterflies": {"augment": ("flip", "crop"), "epochs": 3, "norm": "frozen"},
}  # fmt: skip


def of_dataset(dataset: str) -> dict[str, Any]:
    """Return the defaults that hold for a data set in place of the general ones."""
    if TASK_OF_DATASET.get(dataset) != CLASSES.name:
        return {}
    named = {"model_name": dataset, "experiment": dataset, "data_dir": Path("data") / dataset}
    return {**OF_CLASSES, **named, **OF_DATASET.get(dataset, {})}


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line whose defaults depend on its own `--dataset`."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    dataset = first.parse_known_args(argv)[0].dataset
    parser.set_defaults(**of_dataset(dataset or ""))
    return parser.parse_args(argv)
