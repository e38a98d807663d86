"""Which settings of a run are one task's alone: with data of the other they would be ignored."""

from __future__ import annotations

import dataclasses
from typing import Final

from training.loop.config import TrainConfig
from training.tasks.task import TrainingTask
from training.tasks.task_table import CLASSES

OF_CLASSES: Final[tuple[str, ...]] = (
    "image_size",
    "channels",
    "augment",
    "label_smoothing",
    "class_weights",
)
OF_QUALITY: Final[tuple[str, ...]] = (
    "loss", "damaged_pairs", "damage", "order_weight", "crop_px", "area_px", "min_scale",
    "teacher", "teacher_share",
)  # fmt: skip


def expect_settings_of(task: TrainingTask, config: TrainConfig) -> None:
    """
    Check that nothing is asked for that only another task has.

    Raises:
        ValueError: It would be ignored, or would change the targets.
    """
    names, has, needed = OF_CLASSES, "ratings", "classes"
    if task is CLASSES:
        names, has, needed = OF_QUALITY, "classes", "ratings"
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in names and value != field.default:
            raise ValueError(
                f"--{field.name.replace('_', '-')}: expected it for data of {needed}, got "
                f"{str(value)!r} with --dataset {config.dataset}, which has {has}. Leave it out."
            )
