"""
MobileNetV2 with fewer hidden channels: what `training.prune` makes, and a card says.

Each block widens its maps, convolves each map by itself, and narrows them again; only what lies
between, the hidden channels, is fewer here. Maps between the blocks, and the 1,280 features of the
head, are as many as ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

PRUNABLE: Final = ("mobilenet_v2",)
"""Backbones whose hidden channels may be fewer."""
HIDDEN_CHANNELS: Final = "hidden_channels"
"""What a card's architecture calls them; it has none where all are there."""
_OF_A_BLOCK: Final = re.compile(r"(?:features\.)?(\d+)\.conv\.1\.0\.weight")


def blocks_of(features: nn.Module) -> list[InvertedResidual]:
    """Return the blocks that widen their maps, in order: 16 of MobileNetV2's 17."""
    blocks = [child for child in features.children() if isinstance(child, InvertedResidual)]
    return [block for block in blocks if len(block.conv) == 4]


def hidden_channels_of(features: nn.Module) -> tuple[int, ...]:
    """Return how many hidden channels each of `blocks_of` has."""
    return tuple(_narrowing(block).in_channels for block in blocks_of(features))


def hidden_channels_in(weights: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the same of a file of weights, by name; empty where they are of another network."""
    found = {name: _OF_A_BLOCK.fullmatch(name) for name in weights}
    widths = {int(match[1]): weights[name].shape[0] for name, match in found.items() if match}
    return tuple(width for _, width in sorted(widths.items()))


def narrow(features: nn.Module, hidden_channels: Sequence[int]) -> None:
    """
    Replace the layers inside the blocks by narrower ones with random weights.

    Args:
        features: Of MobileNetV2; changed in place. The names of its parameters stay.
        hidden_channels: Of each of `blocks_of`, from 1 to as many as there are.

    Raises:
        ValueError: Another number of blocks, or more channels than there are.
    """
    blocks, before = blocks_of(features), hidden_channels_of(features)
    fits = len(before) == len(hidden_channels) > 0 and all(
        0 < wanted <= there for wanted, there in zip(hidden_channels, before, strict=True)
    )
    if not fits:
        raise ValueError(
            f"hidden_channels: expected {len(before)} numbers, at most "
            f"{', '.join(map(str, before))}, got {', '.join(map(str, hidden_channels))}."
        )
    for block, hidden in zip(blocks, hidden_channels, strict=True):
        narrowing = _narrowing(block)
        inputs = block.conv[0][0].in_channels
        block.conv[0] = Conv2dNormActivation(
            inputs, hidden, kernel_size=1, norm_layer=nn.BatchNorm2d, activation_layer=nn.ReLU6
        )
        block.conv[1] = Conv2dNormActivation(
            hidden, hidden, stride=block.stride, groups=hidden, norm_layer=nn.BatchNorm2d,
            activation_layer=nn.ReLU6,
        )  # fmt: skip
        block.conv[2] = nn.Conv2d(hidden, narrowing.out_channels, 1, bias=False)


def _narrowing(block: InvertedResidual) -> nn.Conv2d:
    layer = block.conv[2]
    assert isinstance(layer, nn.Conv2d)
    return layer
