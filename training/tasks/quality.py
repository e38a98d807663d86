"""How quality is trained: on ratings, by error and order, and ranked by SROCC."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqa.imaging.preprocessing import Policy, with_area
from iqa.tasks.quality import Quality
from iqa.tasks.score_scales import ScoreScale
from iqa.tasks.task import Card

from training.data.dataset_layouts import Layout
from training.data.ratings import Split
from training.data.targets import mos_targets
from training.tasks.task import (
    Array,
    ImageSettings,
    Loss,
    LossSettings,
    Metric,
    Metrics,
    TrainingTask,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn


class QualityTraining(Quality, TrainingTask):
    """The task `quality`, as training sees it."""

    shown = (
        Metric("srocc", ranks=1),
        Metric("plcc"),
        Metric("rmse_100", decimals=2, ranks=-1),
        Metric("mae_100", decimals=2),
    )

    def targets(self, layout: Layout) -> tuple[Array, dict[str, Any]]:
        """Return the ratings in [0, 1]; see `mos_targets`."""
        return mos_targets(layout)

    def policy_of(self, settings: ImageSettings) -> Policy:
        """Return the usual one, or one of another area."""
        return with_area(settings.area_px)

    def start_head(self, head: nn.Linear, target: Array) -> None:
        """Set the bias to the mean rating, which saves the first steps."""
        from torch.nn import init

        mean = float(target.mean())
        init.normal_(head.weight, std=0.01)
        init.constant_(head.bias, math.log(mean / (1 - mean)))

    def loss(self, settings: LossSettings) -> Loss:
        """Return the loss of the rated images, and that of the order of the damaged copies."""
        from training.tasks.losses import LOSSES, order_of_pairs

        of_rated, order_weight = LOSSES[settings.loss], settings.order_weight

        def loss(quality: Tensor, target: Tensor) -> Tensor:
            is_rated = target.isfinite()
            total = of_rated(quality[is_rated], target[is_rated])
            copies = quality[~is_rated]
            if len(copies):
                total = total + order_weight * order_of_pairs(copies[::2], copies[1::2])
            return total

        return loss

    def metrics(self, outputs: Array, target: Array) -> dict[str, float]:
        """Return correlations and errors; see `agreement`."""
        from training.measure.metrics import agreement

        return agreement(outputs, target)

    def evaluate(
        self, outputs: Array, target: Array, card: Card, served: Array | None = None
    ) -> dict[str, Any]:
        """Return them with intervals, calibrated, as served; see `evaluation.measure`."""
        from training.measure import evaluation

        return evaluation.measure(outputs, target, ScoreScale.of_card(card), served)

    def calibrate(self, outputs: Array, split: Split) -> dict[str, Any]:
        """Return `calibration` and `interval`, where there are enough images for them."""
        from training.measure import score_scale

        return score_scale.fit_if_possible(outputs, split)

    def plot(self, outputs: Array, target: Array, title: str) -> Figure:
        """Plot scores against ratings."""
        from training.measure import plots

        return plots.predicted_against_rated(outputs, target, title)

    def report(self, found: Metrics, outputs: Array, split: Split, card: Card, out: Path) -> None:
        """Print and write tables by score and by rating, plots, the worst ten images."""
        from training.measure import evaluation

        scale = ScoreScale.of_card(card)
        evaluation.report(dict(found), outputs, split, scale, str(found["split"]), out)

    def sentence(self, metrics: Metrics) -> str:
        """Return the metrics in words; the errors are those of the calibrated score."""
        if "calibrated" not in metrics:
            return super().sentence(metrics)
        errors = {key: metrics["calibrated"][key] for key in ("rmse_100", "mae_100")}
        return f"{super().sentence({**metrics, **errors})} calibrated"
