"""The losses: an error term that keeps the scale, and a term that rewards agreement in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

# Both terms then weigh about the same in the first epoch (0.03 x 10 against 0.3), and the
# error term still pulls when the correlation is high.
MSE_WEIGHT: Final = 10.0


def mse(quality: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error; both float, shape (N,), in [0, 1]."""
    return functional.mse_loss(quality, target)


def norm_in_norm(quality: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """
    Return the Norm-in-Norm loss with p = 1, q = 2.

    Both vectors are centred and divided by their 2-norm; the loss is their distance in the
    1-norm, divided by its largest possible value. Blind to scale and offset: never use it alone
    behind a 0-100 score.

    Source: Li, Jiang, Jiang, "Norm-in-Norm Loss with Faster Convergence and Better Performance
    for Image Quality Assessment", ACM MM 2020, equations 3 to 6.

    Args:
        quality: Float, shape (N,), N at least 2.
        target: Same shape.
        eps: Keeps a constant batch from dividing by zero.

    Returns:
        Scalar in [0, 1]; 0 for a perfect linear relation with positive slope.
    """
    difference = _normalised(quality, eps) - _normalised(target, eps)
    # Two vectors of 2-norm 1 are at most 2 apart in the 2-norm, hence 2 sqrt(N) in the 1-norm.
    return difference.abs().sum() / (2 * len(quality) ** 0.5)


def mse_and_norm_in_norm(quality: Tensor, target: Tensor) -> Tensor:
    """Return the two terms together: agreement, anchored to the scale."""
    return MSE_WEIGHT * mse(quality, target) + norm_in_norm(quality, target)


LOSSES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": mse,
    "mse+nin": mse_and_norm_in_norm,
}
"""Loss by its name on the command line; each takes (quality, target)."""


def _normalised(values: Tensor, eps: float) -> Tensor:
    centred = values - values.mean()
    return centred / (torch.linalg.vector_norm(centred) + eps)
