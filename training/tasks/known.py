"""The tasks that can be trained: by a model's card or tags, and by the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from training.data.datasets import DATASETS
from training.tasks.quality import QualityTraining
from training.tasks.task import TrainingTask

QUALITY: Final = QualityTraining()
TRAINING_TASKS: Final[dict[str, TrainingTask]] = {QUALITY.name: QUALITY}
TASK_OF_DATASET: Final[dict[str, str]] = dict.fromkeys(DATASETS, QUALITY.name)
"""What each data set is for."""


def task_of_dataset(dataset: str) -> TrainingTask:
    """Return the task that a model is trained for on a data set."""
    return TRAINING_TASKS[TASK_OF_DATASET[dataset]]


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
