"""The learning rate over time: a short rise, then one of a few ways down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

SCHEDULES: Final[dict[str, Callable[[float], float]]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
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
    optimizer: Optimizer, total_steps: int, warmup: float, schedule: str, steps_done: int = 0
) -> LambdaLR:
    """
    Return torch's scheduler with `rate_factor`; its state follows from the steps alone.

    Args:
        optimizer: Its groups are at their peak rates, or as a resumed run left them.
        total_steps: See `rate_factor`.
        warmup: See `rate_factor`.
        schedule: See `rate_factor`.
        steps_done: Steps of the whole run that are done, where it is resumed.
    """
    return LambdaLR(
        optimizer,
        lambda step: rate_factor(step, total_steps, warmup, schedule),
        last_epoch=steps_done - 1,
    )
