"""What a data set, and a user's network, change of a run's defaults; the command line with them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from iqa.network.names import is_own

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
    # Lines of 1024 x 256, at half of their sides: what no hand does twice alike is small.
    "handwriting": {
        "image_size": (512, 128), "augment": ("flip",), "lr": 5e-4, "weight_decay": 5e-4,
        "epochs": 4, "warmup": 0.1, "norm": "frozen", "label_smoothing": 0.05,
        "clip_norm": 1e9,  # not at all
    },
    "butterflies": {"augment": ("flip", "crop"), "epochs": 3, "norm": "frozen"},
}  # fmt: skip


def is_of_classes(dataset: str, has_ratings: bool = False) -> bool:
    """Tell whether a data set has labels; of csv the options tell, as in `task_of_data`."""
    if dataset == "csv":
        return not has_ratings
    return TASK_OF_DATASET.get(dataset) == CLASSES.name


def of_dataset(dataset: str, has_ratings: bool = False) -> dict[str, Any]:
    """Return the defaults that hold for a data set in place of the general ones."""
    if not is_of_classes(dataset, has_ratings):
        return {}
    named = {"model_name": dataset, "experiment": dataset, "data_dir": Path("data") / dataset}
    return {**OF_CLASSES, **named, **OF_DATASET.get(dataset, {})}


def of_network(network: str, dataset: str, has_ratings: bool) -> dict[str, Any]:
    """
    Return the defaults that a user's network states, which hold in place of the data set's.

    Args:
        network: Its name; of another kind of network nothing is stated.
        dataset: As on the command line.
        has_ratings: The data set is rated, whatever its layout.

    Raises:
        ValueError: It cannot be imported.
    """
    stated: dict[str, Any] = {}
    if is_own(network):
        from training.networks import user_function  # torch: only where a network is imported

        # What a data set brings along is for a network of this project.
        of_own = user_function.stated_defaults(network)
        stated = {"norm": "batch", "weights": "imagenet", **of_own}
    if not is_of_classes(dataset, has_ratings):
        return {key: value for key, value in stated.items() if key == "weights"}
    return stated


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line whose defaults depend on its own `--dataset` and `--network`."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset", default="")
    first.add_argument("--backbone", "--network", default="")
    first.add_argument("--labels")
    first.add_argument("--mos-range", nargs="*")
    seen = first.parse_known_args(argv)[0]
    has_ratings = seen.mos_range is not None or seen.labels is None
    parser.set_defaults(**of_dataset(seen.dataset, has_ratings))
    try:
        parser.set_defaults(**of_network(seen.backbone, seen.dataset, has_ratings))
    except ValueError as error:
        parser.error(str(error))
    return parser.parse_args(argv)
