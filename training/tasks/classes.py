"""How classes are trained: by cross-entropy on whole images, ranked by accuracy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from iqa.imaging.preprocessing import FIXED_SIZE, MIN_SIDE_PX, Policy
from iqa.tasks.classes import Classes, calibrated, temperature_of
from iqa.tasks.task import Card

from training.data.dataset_layouts import Layout
from training.data.ratings import Split
from training.data.targets import Targets, class_targets
from training.tasks.task import (
    Array,
    ImageSettings,
    Loss,
    LossSettings,
    Metric,
    Metrics,
    TrainingImages,
    TrainingTask,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

IMAGE_SIZE: Final = (224, 224)
CLASS_WEIGHTS: Final = ("none", "balanced")


class ClassesTraining(Classes, TrainingTask):
    """The task `classes`, as training sees it."""

    shown = (
        Metric("accuracy", ranks=1),
        Metric("macro_f1"),
        Metric("cross_entropy", ranks=-1),
    )
    # In percent of a probability. What counts is the accuracy, which may fall by 0.2 points.
    max_points = {"bf16": 2.0, "int8": 5.0}  # noqa: RUF012  # never changed
    has_paired_test = True

    def targets(self, layout: Layout) -> tuple[Array, dict[str, Any]]:
        """Return the number of each row's class; the card names the classes."""
        return class_targets(layout)

    def targets_of(self, card: Card) -> Targets:
        """Return the same by the numbers that a model's card gives the classes."""
        return partial(class_targets, class_names=self.labels(card))

    def policy_of(self, settings: ImageSettings) -> Policy:
        """Return one size for all; an image may be much smaller, as icons are."""
        width, height = settings.image_size or IMAGE_SIZE
        return Policy(
            fit=FIXED_SIZE,
            width_px=width,
            height_px=height,
            channels=settings.channels,
            min_side_px=min(MIN_SIDE_PX, max(1, min(width, height) // 4)),
        )

    def training_images(self, split: Split, settings: ImageSettings) -> TrainingImages:
        """Return whole images, augmented as the command line says."""
        from training.data.whole_images import WholeTrainingImages

        return WholeTrainingImages(split, settings.augment, settings.seed)

    def loss(self, settings: LossSettings) -> Loss:
        """Return the cross-entropy of the outputs, which are probabilities."""
        return self.loss_of(settings, np.zeros(0))

    def loss_of(self, settings: LossSettings, target: Array) -> Loss:
        """Return the same, with each class weighted by how rare it is where that is asked for."""
        import torch
        from torch.nn import functional

        weights = None
        if settings.class_weights == "balanced" and len(target):
            counts = torch.bincount(torch.tensor(target).long())
            # A class that --limit left out has none; more would be infinite.
            weights = (len(target) / (len(counts) * counts)).where(counts > 0, 0.0)

        def loss(outputs: Tensor, target: Tensor) -> Tensor:
            # The logarithm of a softmax is the logits but for a constant, which cancels.
            logits = outputs.float().clamp_min(1e-12).log()
            weight = None
            if weights is not None:  # of the last classes, too, there may be no image
                missing = logits.shape[1] - len(weights)
                weight = functional.pad(weights, (0, missing)).to(logits.device)
            return functional.cross_entropy(
                logits,
                target.long(),
                weight=weight,
                label_smoothing=settings.label_smoothing,
            )

        return loss

    def metrics(self, outputs: Array, target: Array) -> dict[str, float]:
        """Return accuracy, macro F1, top-5 and cross-entropy; see `classification.measure`."""
        from training.measure import classification

        return classification.measure(outputs, target)

    def evaluate(
        self, outputs: Array, target: Array, card: Card, served: Array | None = None
    ) -> dict[str, Any]:
        """Return them with intervals and by class, calibrated, as served."""
        from training.measure import classification

        temperature = temperature_of(card)
        found = classification.evaluate(outputs, target, temperature, self.labels(card))
        if served is not None:
            found["served"] = classification.measure(calibrated(served, temperature), target)
        return found

    def calibrate(self, outputs: Array, split: Split) -> dict[str, Any]:
        """Return a temperature, where there are enough images for it."""
        from training.measure import temperature

        return temperature.fit_if_possible(outputs, split)

    def plot(self, outputs: Array, target: Array, title: str) -> Figure:
        """Plot which classes are taken for which."""
        from training.measure import class_plots

        return class_plots.confusion(outputs, target, title)

    def report(self, found: Metrics, outputs: Array, split: Split, card: Card, out: Path) -> None:
        """Print and write tables by class, plots, the predictions, the worst mistakes."""
        from training.measure import class_report

        names = self.labels(card)
        class_report.report(dict(found), outputs, split, temperature_of(card), names, out)

    def is_better(
        self, new: Array, old: Array, target: Array, cards: tuple[Card, Card]
    ) -> tuple[bool, str] | None:
        """Return whether more images are right, by McNemar's test; a tie goes by cross-entropy."""
        from training.measure import classification

        names, others = (self.labels(card) for card in cards)
        if names != others:
            raise ValueError(f"expected the same classes, got {names!r:.80} and {others!r:.80}.")
        return classification.is_better(new, old, target)
