"""One training run's settings, and the command line that is made from them."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from iqa.imaging.preprocessing import AREA_PX, MIN_SIDE_PX
from iqa.network.names import FEATURES_OF_BACKBONE, NETWORKS, POOLINGS

from training.data.augmentations import augmentations_of_text
from training.data.config import DataConfig, option, values_of
from training.data.damage import DAMAGE, SIMPLE
from training.loop.schedule import SCHEDULES
from training.loop.trainable_layers import trained_part
from training.networks.names import TIMM, network_name
from training.tasks.classes import CLASS_WEIGHTS
from training.tasks.loss_terms import TERMS_OF_LOSS


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """
    One training run; everything here is logged to MLflow.

    Raises:
        ValueError: A value that cannot work, on construction.
    """

    backbone: str = option(
        "mobilenet_v2",
        f"{', '.join(NETWORKS)} (the last two are for small images, and have no weights of "
        "ImageNet); or a network of your own, module:function, or timm:NAME where timm is "
        "installed, see docs/your-own-model.md",
        type=network_name,
        metavar="NAME",
        also="--network",
    )
    weights: str = option(
        "imagenet", "where the backbone starts: imagenet (downloaded), none, or a file"
    )
    keep_head: bool = option(
        False, "start from the last layer of --weights FILE as well", action="store_true"
    )
    epochs: int = option(5, "passes over the training pictures", type=int)
    lr: float = option(3e-4, "peak learning rate of the backbone", type=float)
    head_lr_factor: float = option(10.0, "peak learning rate of the head, times --lr", type=float)
    optimizer: str = option(
        "adamw", "sgd has a momentum of 0.9, Nesterov's", choices=["adamw", "adam", "sgd"]
    )
    weight_decay: float = option(1e-4, "the optimiser's; none on norms and biases", type=float)
    train: str = option(
        "all",
        "what is trained: head; last:N, the head and the last N parts of the backbone; or all",
        type=trained_part,
        metavar="{head,last:N,all}",
    )
    warmup: float = option(0.05, "share of all steps before the peak", type=float)
    schedule: str = option(
        "cosine",
        "way of the rate from its peak to the end; plateau: to a tenth after two epochs "
        "that are no better",
        choices=sorted(SCHEDULES),
    )
    patience: int = option(
        0, "end after this many epochs that are no better; 0 never does", type=int
    )
    clip_norm: float = option(1.0, "largest gradient norm", type=float)
    ema_decay: float = option(
        0.0,
        "evaluate a moving average of the weights that keeps this share a step; 0 is none",
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
    loss: str = option("mse+nin", "what is minimised", choices=sorted(TERMS_OF_LOSS))
    batch_size: int = option(16, "rated pictures a step", type=int)
    damaged_pairs: int = option(
        0,
        "pairs of damaged copies added to each step; that the heavier is worse is learned as well",
        type=int,
    )
    damage: str = option(
        SIMPLE,
        "simple: blur, noise, compression, rescaling; camera: as a camera makes them, and wrong "
        "light and colour too",
        choices=list(DAMAGE),
    )
    order_weight: float = option(
        10.0, "weight of their order in the loss; 10 is as much as the error's", type=float
    )
    crop_px: int = option(
        384, "side of the square training crop, of quality; not rescaled", type=int
    )
    area_px: int = option(
        AREA_PX,
        "area of the network's input, of quality: each image keeps its own shape",
        type=int,
    )
    min_scale: float = option(
        1.0,
        "least scale of the training images, of quality: each step has one between this and 1 of "
        "the input's side",
        type=float,
    )
    teacher: Path | None = option(
        None,
        "folder of a checkpoint of quality whose scores of the training images are learned as well",
        type=Path,
    )
    teacher_share: float = option(
        0.5, "share of the teacher in each target, of 1; the rest is the rating", type=float
    )
    image_size: tuple[int, int] | None = option(
        None,
        "of the network's input, for classes (default: 224 224)",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
    )
    channels: str = option("RGB", "L is grey, for classes", choices=["RGB", "L"])
    augment: tuple[str, ...] = option(
        (),
        "for classes, separated by commas, in their order: flip, shift, rotation, affine, crop, "
        "colour, erase, randaugment. Name what leaves your labels true (default: none)",
        type=augmentations_of_text,
        metavar="NAME,...",
    )
    label_smoothing: float = option(
        0.0, "for classes: share of the target that goes to all alike", type=float
    )
    class_weights: str = option(
        "none", "for classes: balanced gives a rare class more weight", choices=CLASS_WEIGHTS
    )
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
        None, "alias to move to the new version if it is the better one on validation, e.g. staging"
    )

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        for name in ("epochs", "lr", "head_lr_factor", "clip_norm", "crop_px", "order_weight"):
            _expect(getattr(self, name) > 0, name, "a number above 0", getattr(self, name))
        for name in ("warmup", "dropout", "ema_decay", "label_smoothing"):
            _expect(0 <= getattr(self, name) < 1, name, "a share in [0, 1)", getattr(self, name))
        needed = self.norm == "batch" or self.weights != "none"
        _expect(needed, "norm", "batch, as --weights none has no statistics", self.norm)
        needed = not self.keep_head or self.weights not in ("imagenet", "none")
        _expect(needed, "keep_head", "it with --weights FILE", f"--weights {self.weights}")
        fits = self.area_px >= MIN_SIDE_PX**2
        _expect(fits, "area_px", f"at least {MIN_SIDE_PX**2}", self.area_px)
        fits = 0 < self.min_scale <= 1 and self.area_px * self.min_scale**2 >= MIN_SIDE_PX**2
        smallest = f"a scale up to 1 whose input has {MIN_SIDE_PX**2} pixels or more"
        _expect(fits, "min_scale", smallest, self.min_scale)
        fits = 0 < self.teacher_share <= 1
        _expect(fits, "teacher_share", "a share above 0, at most 1", self.teacher_share)
        _expect(self.patience >= 0, "patience", "0 or more", self.patience)
        sides = self.image_size or (1, 1)
        _expect(min(sides) > 0, "image_size", "sides above 0", self.image_size)
        has_imagenet = self.backbone in FEATURES_OF_BACKBONE or self.backbone.startswith(TIMM)
        fits = has_imagenet or self.weights != "imagenet"
        _expect(fits, "weights", f"none or a file for {self.backbone}", self.weights)
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
        backbone = self.backbone.replace(":", "-")
        name = f"{self.dataset}-{backbone}-lr{self.lr:g}-e{self.epochs}-s{self.seed}"
        return self.out or Path("runs") / name


def train_config(arguments: argparse.Namespace) -> TrainConfig:
    """
    Build the configuration from parsed options.

    Raises:
        ValueError: See `TrainConfig`.
    """
    return TrainConfig(**values_of(arguments, TrainConfig))


def _expect(is_right: bool, name: str, expected: str, got: object) -> None:
    if not is_right:
        raise ValueError(f"--{name.replace('_', '-')}: expected {expected}, got {got}.")
