"""The tasks that this code knows, by the name that a card gives."""

from __future__ import annotations

from typing import Final

from iqa.errors import CheckpointMismatch
from iqa.tasks.classes import Classes
from iqa.tasks.quality import Quality
from iqa.tasks.task import Card, Task

QUALITY: Final = Quality()
CLASSES: Final = Classes()
TASKS: Final[dict[str, Task]] = {task.name: task for task in (QUALITY, CLASSES)}


def task_of(card: Card) -> Task:
    """
    Return the task of a card; one that names none is of the time when there was only quality.

    Raises:
        CheckpointMismatch: This code does not know it.
    """
    name = card.get("task", QUALITY.name)
    if name not in TASKS:
        raise CheckpointMismatch(
            f"task: expected one of {', '.join(sorted(TASKS))}, got {name!r}. "
            "Use the version of this project that the model was trained with."
        )
    return TASKS[name]
