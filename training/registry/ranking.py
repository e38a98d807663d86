"""What the tags of a version say of its rank; does not wait for torch."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion

from training.tasks.task import TrainingTask
from training.tasks.task_table import training_task_of


def metrics_on_validation(version: ModelVersion, task: TrainingTask) -> dict[str, float]:
    """
    Return what a version's tags say of its rank.

    Raises:
        ValueError: It is of another task, or was not registered by this project.
    """
    own = training_task_of(version.tags)
    if own.name != task.name:
        raise ValueError(
            f"version {version.version}: expected a model of {task.name}, got one of {own.name}."
        )
    try:
        return {key: float(version.tags[f"val_{key}"]) for key in task.rank_keys}
    except KeyError as error:
        raise ValueError(
            f"version {version.version}: expected the tag {error}, got none. "
            "It was not registered by this project."
        ) from error
