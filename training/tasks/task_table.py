"""The tasks that can be trained: by a model's card or tags, and by the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from training.data.class_datasets import CLASS_DATASETS
from training.data.config import DataConfig
from training.data.datasets import DATASETS
from training.tasks.classes import ClassesTraining
from training.tasks.quality import QualityTraining
from training.tasks.task import TrainingTask

QUALITY: Final = QualityTraining()
CLASSES: Final = ClassesTraining()
TRAINING_TASKS: Final[dict[str, TrainingTask]] = {task.name: task for task in (QUALITY, CLASSES)}
TASK_OF_DATASET: Final[dict[str, str]] = {
    **dict.fromkeys(DATASETS, QUALITY.name),
    **dict.fromkeys(CLASS_DATASETS, CLASSES.name),
}
"""What each data set is for; of `csv` the file says it."""


def task_of_data(config: DataConfig) -> TrainingTask:
    """Return the task that a model is trained for on a data set."""
    if config.dataset == "csv" and config.mos_range is None and config.labels is not None:
        return CLASSES
    return TRAINING_TASKS[TASK_OF_DATASET[config.dataset]]


def training_task_of(card: Mapping[str, Any]) -> TrainingTask:
    """
    Return the task of a card, or of a version's tags; of quality where none is named.

    Raises:
        ValueError: It cannot be trained by this code.
    """
    name = card.get("task", QUALITY.name)
    if name not in TRAINING_TASKS:
        raise ValueError(
            f"task: expected one of {', '.join(sorted(TRAINING_TASKS))}, got {name!r}. "
            "Use the version of this project that the model was trained with."
        )
    return TRAINING_TASKS[name]
