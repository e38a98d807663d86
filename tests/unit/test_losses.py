"""The losses: their ends, what they are blind to, and gradients that stay finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.tasks.loss_terms import MSE_WEIGHT
from training.tasks.losses import LOSSES, huber, mse, norm_in_norm, pairwise_hinge


def batch(n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return predictions and ratings, unrelated."""
    generator = torch.Generator().manual_seed(seed)
    quality, target = torch.rand(2, n, generator=generator, dtype=torch.float64)
    return quality, target


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.1, 0.4), (50.0, -3.0)])
def test_norm_in_norm_is_0_for_any_rising_line(scale: float, offset: float) -> None:
    """A perfect linear relation of positive slope costs nothing, whatever its scale and offset."""
    _, target = batch()
    assert norm_in_norm(scale * target + offset, target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("scale", "offset"), [(0.2, 0.1), (7.0, 5.0)])
def test_norm_in_norm_is_blind_to_scale_and_offset(scale: float, offset: float) -> None:
    """Stretching or moving the predictions changes nothing."""
    quality, target = batch()
    moved = norm_in_norm(scale * quality + offset, target)
    assert moved.item() == pytest.approx(norm_in_norm(quality, target).item(), abs=1e-6)


def test_norm_in_norm_is_1_for_two_pictures_in_the_wrong_order() -> None:
    """The largest value is reached, and is 1."""
    loss = norm_in_norm(torch.tensor([0.2, 0.8]), torch.tensor([0.9, 0.1]))
    assert loss.item() == pytest.approx(1.0)


def test_norm_in_norm_against_numpy() -> None:
    """The formula of the paper with p = 1, q = 2, written a second time."""
    quality, target = batch()
    q, t = (v.numpy() - v.numpy().mean() for v in (quality, target))
    expected = np.abs(q / np.linalg.norm(q) - t / np.linalg.norm(t)).sum() / (2 * len(q) ** 0.5)
    assert norm_in_norm(quality, target).item() == pytest.approx(expected)


@given(n=st.integers(2, 64), seed=st.integers(0, 1000))
@settings(max_examples=20, derandomize=True, database=None)
def test_norm_in_norm_lies_in_0_to_1(n: int, seed: int) -> None:
    """No batch costs more than 1 or less than 0."""
    assert 0 <= norm_in_norm(*batch(n, seed)).item() <= 1 + 1e-6


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("flat", ["quality", "target", "both"])
def test_gradient_of_a_constant_batch_is_finite(name: str, flat: str) -> None:
    """A batch of equal ratings, or a network that says one thing, does not end in NaN."""
    quality, target = (v.float() for v in batch(8))
    if flat in ("quality", "both"):
        quality = torch.full_like(quality, 0.5)
    if flat in ("target", "both"):
        target = torch.full_like(target, 0.5)
    quality.requires_grad_()
    loss = LOSSES[name](quality, target)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert quality.grad is not None
    assert bool(torch.isfinite(quality.grad).all())


def test_mse_is_the_mean_squared_error() -> None:
    """0.1 and 0.3 off: the mean square is 0.05."""
    assert mse(torch.tensor([0.5, 0.5]), torch.tensor([0.6, 0.2])).item() == pytest.approx(0.05)


def test_both_terms_together_are_anchored_to_the_scale() -> None:
    """The sum is that of its terms, and a right order at a wrong scale still costs."""
    quality, target = batch()
    expected = MSE_WEIGHT * mse(quality, target) + norm_in_norm(quality, target)
    assert LOSSES["mse+nin"](quality, target).item() == pytest.approx(expected.item())
    assert LOSSES["mse+nin"](0.5 * target, target).item() > 0.1


def test_huber_is_the_squared_error_up_to_a_tenth_and_a_line_beyond() -> None:
    """0.05 squared is 0.0025; 0.3 costs 2 x 0.1 x (0.3 - 0.05), where squared it were 0.09."""
    zero = torch.zeros(2)
    assert huber(torch.tensor([0.05, 0.05]), zero).item() == pytest.approx(0.0025)
    assert huber(torch.tensor([0.3, 0.3]), zero).item() == pytest.approx(0.05)


def test_pairwise_hinge_wants_the_order_and_the_distance() -> None:
    """Nothing for the targets and for any wider spread; the missing distance for less."""
    target = torch.tensor([0.2, 0.5, 0.9])
    assert pairwise_hinge(target, target).item() == 0
    assert pairwise_hinge(1.5 * target - 0.1, target).item() == pytest.approx(0, abs=1e-7)
    # All equal: 0.3, 0.7 and 0.4 are missing. Reversed: twice as much.
    flat = torch.full((3,), 0.5)
    assert pairwise_hinge(flat, target).item() == pytest.approx((0.3 + 0.7 + 0.4) / 3)
    assert pairwise_hinge(-target, target).item() == pytest.approx(2 * (0.3 + 0.7 + 0.4) / 3)
