"""
One network of several: the mean of their weights.

Wortsman et al., "Model soups", ICML 2022, the uniform kind. What it gave here, and that the seed
has to be the same: docs/decisions/0017-no-mean-of-several-runs.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from iqa.network.model import QualityNetwork

COUNTS: Final = "num_batches_tracked"
"""Buffers that say nothing about what a network computes."""


def mean_network(networks: Sequence[QualityNetwork]) -> QualityNetwork:
    """
    Return the network whose weights are the mean of others'.

    Args:
        networks: Two or more of one backbone and pooling, with the same norm statistics.

    Returns:
        A new one, float32, in evaluation mode.

    Raises:
        ValueError: Fewer than two, other backbones or poolings, or other statistics: the mean of
            weights that were trained with each batch's own statistics has none that fit it.
    """
    if len(networks) < 2:
        raise ValueError(f"mean: expected two networks or more, got {len(networks)}. Name another.")
    kinds = [f"{network.backbone}, {network.pooling}" for network in networks]
    if len(set(kinds)) > 1:
        raise ValueError(
            f"mean: expected networks of one backbone and pooling, got {'; '.join(kinds)}. "
            "Take runs that differ in seed or rates only."
        )
    states = [network.state_dict() for network in networks]
    trained = {name for name, _ in networks[0].named_parameters()}
    mean = QualityNetwork(networks[0].backbone, pooling=networks[0].pooling)
    averaged = {}
    for name, first in states[0].items():
        if name in trained:
            stacked = torch.stack([state[name].double() for state in states])
            averaged[name] = stacked.mean(dim=0).float()
        else:
            is_same = all(torch.equal(first, state[name]) for state in states)
            if not (is_same or name.endswith(COUNTS)):
                raise ValueError(
                    f"mean: expected the same norm statistics, got others in {name}. "
                    "Train all of them with --norm frozen, from the same --weights."
                )
            averaged[name] = first
    mean.load_state_dict(averaged)
    return mean.eval()
