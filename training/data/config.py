"""Which images a command reads, and the command line that is made from a configuration."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.dataset_layouts import headers_of_columns
from training.data.datasets import DATASETS


def option(default: Any, text: str, **argument: Any) -> Any:
    """
    Return a dataclass field that is also a command-line option with this help text.

    Args:
        default: Of both.
        text: The help.
        argument: For argparse; and `also`, a second name.
    """
    return field(default=default, metadata={"help": text, **argument})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, rated or labelled."""

    # The table itself: what is entered later is a choice as well.
    dataset: str = option("koniq10k", "layout of the data", choices=DATASETS)
    data_dir: Path = option(Path("data/koniq10k"), "folder of the data set", type=Path)
    labels: Path | None = option(
        None,
        "file of ratings or labels, where the layout does not name one (--dataset csv)",
        type=Path,
    )
    columns: dict[str, str] | None = option(
        None,
        "headers of the labels file that are not image_name, mos or label, and set (--dataset csv)",
        type=headers_of_columns,
        metavar="name=HEADER,mos=HEADER,set=HEADER",
    )
    download: bool = option(
        False, "fetch the data set where it is missing (--dataset fashion_mnist)",
        action="store_true",
    )  # fmt: skip
    mos_range: tuple[float, float] | None = option(
        None,
        "lowest and highest possible rating (--dataset csv)",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
    )
    limit: int | None = option(
        None, "use at most this many pictures of each split, a quick try", type=int
    )
    cache: Path | None = option(
        None,
        "folder for decoded pictures, 0.6 MB each, which later epochs and runs read instead of "
        "decoding them again",
        type=Path,
    )


def add_options(
    parser: argparse._ActionsContainer, config: type[DataConfig], without: Collection[str] = ()
) -> None:
    """Add one option for each field of a configuration but some, with its default in the help."""
    for item in dataclasses.fields(config):
        if item.name in without:
            continue
        argument = dict(item.metadata)
        if "type" not in argument and "action" not in argument:
            argument["type"] = str
        if item.default not in (None, False):
            argument["help"] += " (default: %(default)s)"
        names = ["--" + item.name.replace("_", "-")]
        if "also" in argument:
            names.append(argument.pop("also"))
        parser.add_argument(*names, default=item.default, **argument)


def data_config(arguments: argparse.Namespace) -> DataConfig:
    """
    Build the data's part of the configuration from parsed options.

    Raises:
        ValueError: No picture would be left.
    """
    config = DataConfig(**values_of(arguments, DataConfig))
    if config.limit is not None and config.limit < 1:
        raise ValueError(f"--limit: expected at least 1, got {config.limit}.")
    return config


def values_of(arguments: argparse.Namespace, config: type[DataConfig]) -> dict[str, Any]:
    """Return the parsed options that are fields of a configuration."""
    names = {item.name for item in dataclasses.fields(config)}
    values = {key: value for key, value in vars(arguments).items() if key in names}
    for name in ("mos_range", "image_size"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    return values
