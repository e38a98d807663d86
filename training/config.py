"""One training run's settings, and the command line that is made from them."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iqa.model import FEATURES_OF_BACKBONE, POOLINGS

from training.datasets import DATASETS
from training.layouts import headers_of_columns
from training.losses import LOSSES
from training.schedule import SCHEDULES


def option(default: Any, text: str, **argument: Any) -> Any:
    """Return a dataclass field that is also a command-line option with this help text."""
    return field(default=default, metadata={"help": text, **argument})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which rated pictures."""

    dataset: str = option("koniq10k", "layout of the data", choices=sorted(DATASETS))
    data_dir: Path = option(Path("data/koniq10k"), "folder of the data set", type=Path)
    labels: Path | None = option(
        None, "ratings file, where the layout does not name one (--dataset csv)", type=Path
    )
    columns: dict[str, str] | None = option(
        None,
        "headers of the ratings file that are not image_name, mos and set (--dataset csv)",
        type=headers_of_columns,
        metavar="name=HEADER,mos=HEADER,set=HEADER",
    )
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


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """
    One training run; everything here is logged to MLflow.

    Raises:
        ValueError: A value that cannot work, on construction.
    """

    backbone: str = option(
        "mobilenet_v2", "network before the head", choices=list(FEATURES_OF_BACKBONE)
    )
    weights: str = option(
        "imagenet", "where the backbone starts: imagenet (downloaded), none, or a file"
    )
    epochs: int = option(5, "passes over the training pictures", type=int)
    lr: float = option(3e-4, "peak learning rate of the backbone", type=float)
    head_lr_factor: float = option(10.0, "peak learning rate of the head, times --lr", type=float)
    weight_decay: float = option(1e-4, "AdamW's; none on norms and biases", type=float)
    warmup: float = option(0.05, "share of all steps before the peak", type=float)
    schedule: str = option(
        "cosine", "way of the rate from its peak to the end", choices=sorted(SCHEDULES)
    )
    clip_norm: float = option(1.0, "largest gradient norm", type=float)
    ema_decay: float = option(
        0.0,
        "judge with a moving average of the weights that keeps this share a step; 0 is none",
        type=float,
    )
    norm: str = option(
        "batch",
        "statistics of the batch norms: batch, each batch's own; frozen, those of --weights, which "
        "takes a quarter less time on a CPU",
        choices=["batch", "frozen"],
    )
    dropout: float = option(0.2, "probability before the head", type=float)
    pooling: str = option(
        "average",
        "what the head sees of each feature map; only the average has an exact quality map",
        choices=list(POOLINGS),
    )
    loss: str = option("mse+nin", "what is minimised", choices=sorted(LOSSES))
    batch_size: int = option(16, "rated pictures a step", type=int)
    damaged_pairs: int = option(
        0,
        "pairs of damaged copies added to each step; that the heavier is worse is learned as well",
        type=int,
    )
    order_weight: float = option(
        10.0, "weight of their order in the loss; 10 is as much as the error's", type=float
    )
    crop_px: int = option(384, "side of the square training crop; not rescaled", type=int)
    seed: int = option(0, "same seed, same numbers", type=int)
    device: str = option("auto", "where to compute", choices=["auto", "cpu", "cuda"])
    precision: str = option(
        "auto",
        "auto is bf16 autocast where the device has it, else f32",
        choices=["auto", "bf16", "f32"],
    )
    workers: int = option(2, "processes that decode pictures; 0 decodes in line", type=int)
    out: Path | None = option(
        None, "folder of the run; default runs/DATASET-BACKBONE-lrLR-eEPOCHS-sSEED", type=Path
    )
    resume: bool = option(False, "continue the interrupted run in --out", action="store_true")
    restart: bool = option(False, "discard the interrupted run in --out", action="store_true")
    experiment: str = option("iqa", "MLflow experiment")
    run_name: str | None = option(None, "MLflow run name; default BACKBONE-lrLR-eEPOCHS")
    model_name: str = option("iqa", "registered model that gets the version")
    alias: str | None = option(
        None, "alias to move to the new version if its validation SROCC is better, e.g. staging"
    )

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        for name in ("epochs", "lr", "head_lr_factor", "clip_norm", "crop_px", "order_weight"):
            _expect(getattr(self, name) > 0, name, "a number above 0", getattr(self, name))
        for name in ("warmup", "dropout", "ema_decay"):
            _expect(0 <= getattr(self, name) < 1, name, "a share in [0, 1)", getattr(self, name))
        needed = self.norm == "batch" or self.weights != "none"
        _expect(needed, "norm", "batch, as --weights none has no statistics", self.norm)
        # Norm-in-Norm and batch norm compare pictures within a batch.
        _expect(self.batch_size >= 2, "batch_size", "at least 2", self.batch_size)
        fits = 0 <= self.damaged_pairs <= self.batch_size
        _expect(fits, "damaged_pairs", "from 0 to --batch-size", self.damaged_pairs)
        _expect(self.limit is None or self.limit >= 2, "limit", "at least 2", self.limit)
        # MLflow reserves v1, v2, ... and latest; said now and not after hours.
        is_name = self.alias is None or re.fullmatch(r"(?!v\d+$|latest$)[\w-]+", self.alias)
        _expect(bool(is_name), "alias", "letters, digits, - and _, not v1 or latest", self.alias)
        _expect(not (self.resume and self.restart), "resume", "one of --resume, --restart", "both")

    @property
    def title(self) -> str:
        """Name of the run for people."""
        return self.run_name or f"{self.backbone}-lr{self.lr:g}-e{self.epochs}"

    @property
    def run_dir(self) -> Path:
        """Folder of the run: state for --resume, history, the best checkpoint."""
        name = f"{self.dataset}-{self.backbone}-lr{self.lr:g}-e{self.epochs}-s{self.seed}"
        return self.out or Path("runs") / name


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
        parser.add_argument("--" + item.name.replace("_", "-"), default=item.default, **argument)


def train_config(arguments: argparse.Namespace) -> TrainConfig:
    """
    Build the configuration from parsed options.

    Raises:
        ValueError: See `TrainConfig`.
    """
    return TrainConfig(**_values(arguments, TrainConfig))


def data_config(arguments: argparse.Namespace) -> DataConfig:
    """Build the data's part of the configuration from parsed options."""
    return DataConfig(**_values(arguments, DataConfig))


def _values(arguments: argparse.Namespace, config: type[DataConfig]) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(config)}
    values = {key: value for key, value in vars(arguments).items() if key in names}
    if values.get("mos_range") is not None:
        values["mos_range"] = tuple(values["mos_range"])
    return values


def _expect(is_right: bool, name: str, expected: str, got: object) -> None:
    if not is_right:
        raise ValueError(f"--{name.replace('_', '-')}: expected {expected}, got {got}.")
