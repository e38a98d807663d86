"""
The learning rate over time: a short rise, then one of a few ways down.

Torch is imported where it is used: the command line asks for the names alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR

PLATEAU: Final = "plateau"
PLATEAU_PATIENCE: Final = 1
"""Epochs that may be no better; the next one lowers the rate."""

SCHEDULES: Final[dict[str, Callable[[float], float]]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    PLATEAU: lambda _: 1.0,  # and less by `plateau_factor`
}
"""Share of the peak rate, by the share in [0, 1] of the steps after the warm-up that is done."""


def rate_factor(step: int, total_steps: int, warmup: float, schedule: str) -> float:
    """
    Return the share of the peak learning rate: a linear warm-up, then the schedule.

    Args:
        step: From 0.
        total_steps: Steps of the whole run.
        warmup: Share of the steps before the peak, in [0, 1).
        schedule: One of `SCHEDULES`.
    """
    warmup_steps = warmup * total_steps
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return SCHEDULES[schedule]((step - warmup_steps) / (total_steps - warmup_steps))


def rate_scheduler(
    optimizer: Optimizer,
    total_steps: int,
    warmup: float,
    schedule: str,
    steps_done: int = 0,
    validated: Callable[[], Sequence[float]] = tuple,
) -> LambdaLR:
    """
    Return torch's scheduler with `rate_factor`; its state follows from the steps alone.

    Args:
        optimizer: Its groups are at their peak rates, or as a resumed run left them.
        total_steps: See `rate_factor`.
        warmup: See `rate_factor`.
        schedule: See `rate_factor`.
        steps_done: Steps of the whole run that are done, where it is resumed.
        validated: Returns a number for each epoch so far, greater is better; for the plateau.
    """
    from torch.optim.lr_scheduler import LambdaLR

    def factor(step: int) -> float:
        share = rate_factor(step, total_steps, warmup, schedule)
        return share * plateau_factor(validated()) if schedule == PLATEAU else share

    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)


def plateau_factor(validated: Sequence[float]) -> float:
    """Return by what torch's ReduceLROnPlateau has lowered the rate after these epochs."""
    import torch
    from torch.optim import SGD
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    optimizer = SGD([torch.zeros(1)], lr=1.0)
    plateau = ReduceLROnPlateau(
        optimizer, mode="max", factor=0.1, patience=PLATEAU_PATIENCE, threshold=0.0
    )
    for number in validated:
        plateau.step(number)
    return float(optimizer.param_groups[0]["lr"])
