"""
Two networks for small images, without ImageNet weights: feature layers, as the backbones have.

`residual_small` halves the sides of a 28 x 28 image twice, where a backbone of ImageNet halves them
five times and leaves one place. `cnn4` is four plain convolutions: the others are measured by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from iqa.network.names import FEATURES_OF_SMALL_NETWORK
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_CHANNELS: Final = (32, 64, FEATURES_OF_SMALL_NETWORK["residual_small"])
CNN4_LAYERS: Final = ((32, 5), (64, 5), (128, 3), (FEATURES_OF_SMALL_NETWORK["cnn4"], 5))
"""Channels and side of the kernel of each layer."""


class ResidualBlock(nn.Module):
    """
    Two 3 x 3 convolutions and a way around them.

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, the
    block of ResNet-18.

    Args:
        inputs: Channels.
        outputs: Channels.
        stride: 2 halves the sides.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.around = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the next maps: (N, C, H, W) -> (N, C', H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.around(maps))


def residual_small() -> nn.Sequential:
    """Return a stem and two blocks: (N, 3, H, W) -> (N, 128, H / 4, W / 4); 0.29 M parameters."""
    first, *rest = RESIDUAL_CHANNELS
    layers: list[nn.Module] = [
        nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU()
    ]  # fmt: skip
    inputs = first
    for outputs in rest:
        layers.append(ResidualBlock(inputs, outputs, stride=2))
        inputs = outputs
    return nn.Sequential(*layers)


def cnn4() -> nn.Sequential:
    """Return four convolutions, each with a maximum over 2 x 2: (N, 3, H, W) -> (N, 256, ...)."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, side in CNN4_LAYERS:
        layers += [
            nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False),
            nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True),
        ]  # fmt: skip
        inputs = outputs
    return nn.Sequential(*layers)


SMALL_NETWORKS: Final[dict[str, Callable[[], nn.Sequential]]] = {
    "residual_small": residual_small,
    "cnn4": cnn4,
}
"""What makes each of `FEATURES_OF_SMALL_NETWORK`."""
