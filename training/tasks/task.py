"""
The training half of a task; `iqa.tasks.task` is the half that serving needs.

    targets, start_head, loss     what is learned
    metrics, shown                how good a network is, and which of two is better
    policy_of, training_images    how an image is seen, where that is not quality's way
    evaluate, calibrate, report   what is said of a finished one, beyond its metrics

A new task answers the first two rows and is entered into `training.tasks.task_table`. Torch, scipy
and matplotlib are imported where they are used, so ranking versions does not wait for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from iqa.imaging.preprocessing import DEFAULT, Policy
from iqa.tasks.task import Card, Task
from numpy.typing import NDArray

from training.data.dataset_layouts import Layout
from training.data.ratings import Split
from training.data.targets import Targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

Array = NDArray[np.float64]
Loss: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""(outputs, target) of a whole batch -> scalar. Copies that were damaged have the target NaN."""
Metrics: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """
    A number to show.

    Attributes:
        key: Among the metrics; `KEY_ci95` may hold its 95 % interval.
        decimals: To print.
        ranks: 1 where the greater is better, -1 where the smaller is, 0 where it chooses nothing.
    """

    key: str
    decimals: int = 4
    ranks: int = 0

    @property
    def title(self) -> str:
        """Name for people."""
        return self.key.upper()

    def text(self, value: float) -> str:
        """Return a value as it is printed."""
        return f"{value:.{self.decimals}f}"


class LossSettings(Protocol):
    """What `--loss` and `--order-weight` say."""

    @property
    def loss(self) -> str:
        """Name of the loss."""

    @property
    def order_weight(self) -> float:
        """Weight of the order of damaged copies."""

    @property
    def label_smoothing(self) -> float:
        """Share of the target that goes to all classes alike."""

    @property
    def class_weights(self) -> str:
        """Name of the weights of the classes."""


class ImageSettings(Protocol):
    """What the command line says of how images are seen."""

    @property
    def crop_px(self) -> int:
        """Side of the training crop."""

    @property
    def area_px(self) -> int:
        """Area of the network's input, where each image keeps its own shape."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Width and height of the network's input, where they are fixed."""

    @property
    def channels(self) -> str:
        """RGB, or L for grey."""

    @property
    def augment(self) -> tuple[str, ...]:
        """Names of augmentations."""

    @property
    def damage(self) -> str:
        """Name of the kinds of damage."""

    @property
    def min_scale(self) -> float:
        """Least scale at which a training image is seen, of the input's side."""

    @property
    def seed(self) -> int:
        """Of crops and augmentations."""


class TrainingImages(Protocol):
    """A `torch.utils.data.Dataset` of (pixels, target) that knows which epoch it is."""

    epoch: int


class TrainingTask(Task, Protocol):
    """
    One kind of model, as training sees it.

    Outputs are the network's: float64 (N,) where the head has one, else (N, n_outputs).

    Attributes:
        policy: How an image becomes the input of a network that is trained now.
        shown: The metrics that tell of a network; the first of those that rank decides.
        max_points: How far a graph of bf16 or int8 may move an answer, in hundredths of the scale;
            None where that is `training.graph.precision`'s own.
    """

    policy: Policy = DEFAULT
    shown: tuple[Metric, ...]
    max_points: Mapping[str, float] | None = None

    def targets(self, layout: Layout) -> tuple[Array, dict[str, Any]]:
        """
        Return the target of each row, float64 (N,), and what the card says of the targets.

        Raises:
            ValueError: The table does not hold them.
        """

    def targets_of(self, card: Card) -> Targets:
        """Return what makes the targets by which a model of this card is measured."""
        return self.targets

    def policy_of(self, settings: ImageSettings) -> Policy:
        """Return how an image becomes the input of a network that is trained now."""
        return self.policy

    def training_images(self, split: Split, settings: ImageSettings) -> TrainingImages:
        """Return what a network is trained on: here random crops."""
        from training.data.images import TrainingCrops

        return TrainingCrops(
            split, settings.crop_px, settings.seed, settings.damage, settings.min_scale
        )

    def start_head(self, head: nn.Linear, target: Array) -> None:
        """Set the head before the first step, by the targets of the training images."""
        from torch.nn import init

        init.normal_(head.weight, std=0.01)
        init.zeros_(head.bias)

    def loss(self, settings: LossSettings) -> Loss:
        """Return what is minimised."""

    def loss_of(self, settings: LossSettings, target: Array) -> Loss:
        """Return what is minimised on images of these targets."""
        return self.loss(settings)

    def metrics(self, outputs: Array, target: Array) -> dict[str, float]:
        """Measure predictions: quick, for each epoch, and to compare two networks."""

    def differences(self, expected: Array, got: Array) -> Array:
        """Return how far two predictions of each image lie apart, in hundredths of the scale."""
        apart = np.abs(100 * got - 100 * expected)
        return apart if apart.ndim == 1 else apart.max(axis=1)

    def evaluate(
        self, outputs: Array, target: Array, card: Card, served: Array | None = None
    ) -> dict[str, Any]:
        """
        Measure a finished network, for its card.

        Args:
            outputs: The network's.
            target: Shape (N,).
            card: May hold what `calibrate` returned.
            served: The outputs of the graph that is served, measured under `served`.
        """
        found: dict[str, Any] = self.metrics(outputs, target)
        return found if served is None else {**found, "served": self.metrics(served, target)}

    def calibrate(self, outputs: Array, split: Split) -> dict[str, Any]:
        """Return what the card says of how outputs become a reply, fitted on validation."""
        return {}

    def plot(self, outputs: Array, target: Array, title: str) -> Figure | None:
        """Plot predictions against targets, if that is of use."""
        return None

    def report(self, found: Metrics, outputs: Array, split: Split, card: Card, out: Path) -> None:
        """
        Print what `evaluate` found, and write it.

        Args:
            found: The figures, and what they are of.
            outputs: The network's.
            split: The images that were measured.
            card: The network's.
            out: File of the figures; others may be written beside it.
        """
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
        print(f"{self.sentence(found)}; {len(split)} images\nwritten: {out}")

    def is_better(
        self, new: Array, old: Array, target: Array, cards: tuple[Card, Card]
    ) -> tuple[bool, str] | None:
        """
        Compare two networks on the same images, where more is needed than two metrics.

        Args:
            new: Outputs of the one that wants the alias.
            old: Outputs of the one that has it.
            target: Of the images.
            cards: Of both, the new one first.

        Returns:
            Whether the new one is better, and why; None leaves it to `rank`.

        Raises:
            ValueError: They cannot be compared.
        """
        return None

    has_paired_test: bool = False
    """Whether `is_better` decides."""

    @property
    def leading(self) -> Metric:
        """The metric that decides."""
        return next(metric for metric in self.shown if metric.ranks)

    @property
    def rank_keys(self) -> tuple[str, ...]:
        """What `rank` needs of the metrics."""
        return tuple(metric.key for metric in self.shown if metric.ranks)

    def rank(self, metrics: Metrics) -> tuple[float, ...]:
        """Return what is greater for the better of two networks."""
        return tuple(metric.ranks * metrics[metric.key] for metric in self.shown if metric.ranks)

    def sentence(self, metrics: Metrics) -> str:
        """Return the metrics that are there in words, with the leading one's interval."""
        words = []
        for metric in self.shown:
            if metric.key not in metrics:
                continue
            ends = metrics.get(f"{metric.key}_ci95") if metric == self.leading else None
            interval = f" [{metric.text(ends[0])}, {metric.text(ends[1])}]" if ends else ""
            words.append(f"{metric.title} {metric.text(metrics[metric.key])}{interval}")
        return ", ".join(words)
