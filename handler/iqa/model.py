"""
The networks: pixels -> quality in [0, 1]. The torch reference of every runtime.

Shapes: N batch, H and W any size from 32, C = 3 (RGB).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn
from torchvision import models

# ImageNet's channel statistics, in units of 0-255 (torchvision's, times 255).
MEAN: Final = (123.675, 116.28, 103.53)
STD: Final = (58.395, 57.12, 57.375)

FEATURES_OF_BACKBONE: Final[dict[str, int]] = {
    "efficientnet_b0": 1280,
    "resnet18": 512,
    "mobilenet_v2": 1280,
}
"""The backbones, and how many feature maps each ends in."""


class QualityNetwork(nn.Module):
    """
    A convolutional backbone, global average pooling, and one linear output.

    The head is linear on the average, so the logit is the mean over places of
    `head(features at that place)`: `logit_map`, where the quality comes from, is exact.

    Args:
        backbone: A key of `FEATURES_OF_BACKBONE`.
        dropout: Probability, before the head, while training.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: str, dropout: float = 0.2) -> None:
        super().__init__()
        if backbone not in FEATURES_OF_BACKBONE:
            known = ", ".join(FEATURES_OF_BACKBONE)
            raise ValueError(f"backbone: expected one of {known}, got {backbone!r}.")
        self.backbone = backbone
        self.features = _features_of(getattr(models, backbone)(weights=None))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES_OF_BACKBONE[backbone], 1)
        # Constants, not weights: they stay out of the checkpoint.
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        """
        Judge a batch.

        Args:
            pixels_NHWC: uint8, shape (N, H, W, 3), RGB, 0-255: `preprocess`'s output, stacked.

        Returns:
            float32, shape (N,), quality in [0, 1].
        """
        return torch.sigmoid(self.logits(pixels_NHWC))

    def logits(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the quality before the sigmoid: float32, shape (N,)."""
        pooled = self._maps(pixels_NHWC).float().mean(dim=(2, 3))
        return self.head(self.dropout(pooled)).float().squeeze(1)

    def logit_map(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the logit of each place, whose mean is the logit: float32, (N, rows, columns)."""
        maps = self._maps(pixels_NHWC).float()
        return torch.einsum("nchw,c->nhw", maps, self.head.weight[0]) + self.head.bias

    def _maps(self, pixels_NHWC: Tensor) -> Tensor:
        batch_NCHW = pixels_NHWC.permute(0, 3, 1, 2).float()
        maps: Tensor = self.features((batch_NCHW - self.mean) / self.std)
        return maps


def _features_of(network: nn.Module) -> nn.Module:
    """Return a torchvision network without its pooling and classifier."""
    if isinstance(network, models.ResNet):
        parts = list(network.named_children())[:-2]  # avgpool, fc
        return nn.Sequential(OrderedDict(parts))
    features = network.features
    assert isinstance(features, nn.Module)
    return features
