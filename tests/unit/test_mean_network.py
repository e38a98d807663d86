"""The mean of several networks' weights, and what has none."""

from __future__ import annotations

import pytest
import torch
from iqa.network.model import QualityNetwork

from training.mean_network import mean_network


def test_the_mean_lies_halfway_between_two() -> None:
    """Every trained number; the members stay as they are."""
    first, second = (QualityNetwork("mobilenet_v2") for _ in range(2))
    before = [parameter.clone() for parameter in first.parameters()]
    mean = mean_network([first, second])
    pairs = zip(first.parameters(), second.parameters(), mean.parameters(), strict=True)
    moved = 0
    for one, other, half in pairs:
        torch.testing.assert_close(half, (one + other) / 2)
        moved += not torch.equal(half, one)
    assert moved > 50  # the members differ
    for kept, parameter in zip(before, first.parameters(), strict=True):
        assert torch.equal(kept, parameter)
    assert not mean.training


def test_counts_of_batches_do_not_matter() -> None:
    """Only what is computed with has to be the same."""
    first, second = (QualityNetwork("resnet18") for _ in range(2))
    norm = next(m for m in second.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 5
    assert mean_network([first, second]).backbone == "resnet18"


def test_fewer_than_two_are_refused() -> None:
    """The mean of one is a copy."""
    with pytest.raises(ValueError, match=r"expected two networks or more, got 1"):
        mean_network([QualityNetwork("resnet18")])


def test_networks_of_two_backbones_are_refused() -> None:
    """Their weights have nothing in common."""
    networks = [QualityNetwork("resnet18"), QualityNetwork("mobilenet_v2")]
    with pytest.raises(ValueError, match=r"one backbone and pooling, got resnet18, average; mob"):
        mean_network(networks)


def test_statistics_of_batches_are_refused() -> None:
    """Norms that followed their own batches have no mean that fits the mean weights."""
    networks = [QualityNetwork("resnet18") for _ in range(2)]
    norm = next(m for m in networks[1].modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.running_mean is not None
    norm.running_mean += 1.0
    with pytest.raises(ValueError, match=r"Train all of them with --norm frozen"):
        mean_network(networks)
