"""The losses: an error term that keeps the scale, and terms that reward agreement in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from training.tasks.loss_terms import TERMS_OF_LOSS

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# About the RMSE of a trained network: what lies further out counts linearly.
HUBER_DELTA: Final = 0.1
ORDER_MARGIN: Final = 0.02


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


def huber(quality: Tensor, target: Tensor) -> Tensor:
    """
    Return twice the mean Huber loss: the mean squared error, but linear beyond `HUBER_DELTA`.

    Args:
        quality: Float, shape (N,), in [0, 1].
        target: Same shape.
    """
    return 2 * functional.huber_loss(quality, target, delta=HUBER_DELTA)


def pairwise_hinge(quality: Tensor, target: Tensor) -> Tensor:
    """
    Return by how much pairs are less far apart, in the right order, than they should be.

    For each pair max(0, |t_i - t_j| - sign(t_i - t_j) (q_i - q_j)), averaged over all pairs: zero
    where the order is right and the distance at least that of the targets.

    Source: Sun, Min, Lu, Zhai, "A Deep Learning based No-reference Quality Assessment Model for
    UGC Videos", ACM MM 2022, the rank loss.

    Args:
        quality: Float, shape (N,), N at least 2.
        target: Same shape.
    """
    apart = target[:, None] - target[None, :]
    got = quality[:, None] - quality[None, :]
    n = len(quality)
    return functional.relu(apart.abs() - apart.sign() * got).sum() / (n * (n - 1))


def order_of_pairs(milder: Tensor, heavier: Tensor) -> Tensor:
    """
    Return by how much the heavier damaged copies come too close to the milder ones.

    Args:
        milder: Float, shape (N,), quality in [0, 1].
        heavier: Same shape; of the same pictures with more of the same damage.

    Returns:
        Scalar, the mean of max(0, ORDER_MARGIN - (milder - heavier)).
    """
    return functional.relu(ORDER_MARGIN - (milder - heavier)).mean()


def _sum_of(terms: Mapping[str, float]) -> Loss:
    weighted = [(weight, TERMS[name]) for name, weight in terms.items()]
    if [weight for weight, _ in weighted] == [1.0]:
        return weighted[0][1]

    def total(quality: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * term(quality, target) for weight, term in weighted]).sum()

    return total


TERMS: Final[dict[str, Loss]] = {
    "mse": mse, "huber": huber, "norm-in-norm": norm_in_norm, "pairwise hinge": pairwise_hinge,
}  # fmt: skip
LOSSES: Final[dict[str, Loss]] = {name: _sum_of(terms) for name, terms in TERMS_OF_LOSS.items()}
"""Loss by its name on the command line; each takes (quality, target)."""


def _normalised(values: Tensor, eps: float) -> Tensor:
    centred = values - values.mean()
    return centred / (torch.linalg.vector_norm(centred) + eps)
