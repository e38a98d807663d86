"""
The networks: pixels -> outputs. The torch reference of every runtime.

Shapes: N batch, H and W any size that the backbone takes, C = 3 (RGB) or 1 (grey), K outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import torch
from iqa.network.logit_map import not_linear
from iqa.network.names import NETWORKS, POOLINGS
from iqa.network.pruned_mobilenet import HIDDEN_CHANNELS, narrow
from iqa.network.small_networks import SMALL_NETWORKS
from iqa.tasks.task import ONE_OUTPUT, Head
from torch import Tensor, nn
from torchvision import models

# ImageNet's channel statistics, in units of 0-255 (torchvision's, times 255).
MEAN: Final = (123.675, 116.28, 103.53)
STD: Final = (58.395, 57.12, 57.375)

# Keeps the square root's gradient finite where a map is flat.
VARIANCE_EPS: Final = 1e-5


class Network(nn.Module):
    """
    What is trained, measured, and made a graph of: a network of this project, or a user's own.

    Attributes:
        backbone: Its name: a key of `NETWORKS`, or of a user's own, see
            `iqa.network.names`.
        ends_in: Outputs and activation.
        n_channels: Channels of the input.
        example_px: Height and width of an input.
        takes_any_size: Whether inputs may have another size.
    """

    backbone: str
    ends_in: Head
    n_channels: int
    example_px: tuple[int, int] = (96, 128)
    takes_any_size: bool = True

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        """
        Judge a batch.

        Args:
            pixels_NHWC: uint8, shape (N, H, W, C), 0-255: `preprocess`'s output, stacked.

        Returns:
            float32, in [0, 1], shape (N,) with one output, else (N, K).
        """
        return activated(self.logits(pixels_NHWC), self.ends_in)

    def logits(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the outputs before the activation: float32, shape (N,) or (N, K)."""
        raise NotImplementedError

    def logit_map(self, pixels_NHWC: Tensor) -> Tensor:
        """
        Return the logit of each place, whose mean is the logit: float32, (N, K, rows, columns).

        Raises:
            ImageRejected: There is no such map (404).
        """
        raise not_linear(self.backbone)

    def architecture(self) -> dict[str, Any]:
        """Return what a card says of it."""
        raise NotImplementedError

    @property
    def last_layer(self) -> nn.Module | None:
        """What makes the logits of features; None where that is not known."""
        raise NotImplementedError

    @property
    def parts(self) -> list[nn.Module]:
        """What comes before the last layer, in order."""
        raise NotImplementedError


class ImageNetwork(Network):
    """
    A convolutional backbone, global pooling, and a linear head.

    On the average alone the head is linear in the features, so the logit is the mean over places
    of `head(features at that place)`: `logit_map`, where an output comes from, is exact.

    Args:
        backbone: A key of `NETWORKS`.
        dropout: Probability, before the head, while training.
        pooling: One of `POOLINGS`. All but the average have answers and no map.
        head: Outputs and activation, as the task says.
        n_channels: Channels of the input: 3, or 1 for grey.
        hidden_channels: Of each block, where MobileNetV2 has fewer than torchvision's, see
            `iqa.network.pruned_mobilenet`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        dropout: float = 0.2,
        pooling: str = "average",
        head: Head = ONE_OUTPUT,
        n_channels: int = 3,
        hidden_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if backbone not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise ValueError(f"backbone: expected one of {known}, got {backbone!r}.")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected one of {', '.join(POOLINGS)}, got {pooling!r}.")
        self.backbone, self.pooling, self.ends_in = backbone, pooling, head
        self.n_channels = n_channels
        self.features = _features_of(backbone)
        self._hidden_channels = hidden_channels
        if hidden_channels is not None:
            narrow(self.features, hidden_channels)
        self.dropout = nn.Dropout(dropout)
        n_pooled = NETWORKS[backbone] * len(pooling.split("+"))
        self.head = nn.Linear(n_pooled, head.n_outputs)
        # Constants, not weights: they stay out of the checkpoint.
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def logits(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the outputs before the activation: float32, shape (N,) or (N, K)."""
        pooled = pool(self._maps(pixels_NHWC).float(), self.pooling)
        logits: Tensor = self.head(self.dropout(pooled)).float()
        return logits.squeeze(1) if self.ends_in.n_outputs == 1 else logits

    def logit_map(self, pixels_NHWC: Tensor) -> Tensor:
        """
        Return each output's logit at each place, whose mean is the logit of the whole image.

        Returns:
            float32, shape (N, K, rows, columns).

        Raises:
            ImageRejected: The head sees more than the average (404).
        """
        if self.pooling != "average":
            raise not_linear(f"pooling {self.pooling}")
        maps = self._maps(pixels_NHWC).float()
        logits = torch.einsum("nchw,kc->nkhw", maps, self.head.weight)
        return logits + self.head.bias[:, None, None]

    def architecture(self) -> dict[str, Any]:
        """See `Network`."""
        return architecture_of(self.backbone, self.pooling, self.ends_in, self._hidden_channels)

    @property
    def last_layer(self) -> nn.Module:
        """See `Network`."""
        return self.head

    @property
    def parts(self) -> list[nn.Module]:
        """See `Network`."""
        return list(self.features.children())

    def _maps(self, pixels_NHWC: Tensor) -> Tensor:
        maps: Tensor = self.features(
            (three_channels(pixels_NHWC, self.n_channels) - self.mean) / self.std
        )
        return maps


def architecture_of(
    backbone: str, pooling: str, head: Head, hidden_channels: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return what a card says of an `ImageNetwork`; hidden channels only where they are fewer."""
    narrowed = {} if hidden_channels is None else {HIDDEN_CHANNELS: list(hidden_channels)}
    return {
        "backbone": backbone,
        "pooling": pooling,
        "head": str(head),
        "mean": list(MEAN),
        "std": list(STD),
        **narrowed,
    }


def activated(logits: Tensor, head: Head) -> Tensor:
    """Return what a head's logits, (N,) or (N, K), say in [0, 1]."""
    if head.activation == "softmax":
        return torch.softmax(logits, dim=1)
    return torch.sigmoid(logits)


def three_channels(pixels_NHWC: Tensor, n_channels: int) -> Tensor:
    """Return the batch as the backbones want it: float32, (N, 3, H, W), grey three times."""
    batch_NCHW = pixels_NHWC.permute(0, 3, 1, 2).float()
    return batch_NCHW.expand(-1, 3, -1, -1) if n_channels == 1 else batch_NCHW


def pool(maps: Tensor, pooling: str) -> Tensor:
    """
    Sum up each feature map in one number or two.

    Args:
        maps: Float, (N, C, H, W).
        pooling: One of `POOLINGS`.

    Returns:
        Float, (N, C), or (N, 2 C): the averages first.
    """
    average = maps.mean(dim=(2, 3))
    if pooling == "average":
        return average
    if pooling == "average+max":
        return torch.cat([average, maps.amax(dim=(2, 3))], dim=1)
    variance = (maps - average[:, :, None, None]).square().mean(dim=(2, 3))
    return torch.cat([average, (variance + VARIANCE_EPS).sqrt()], dim=1)


def _features_of(backbone: str) -> nn.Module:
    """Return a network of `NETWORKS` without its pooling and classifier."""
    if backbone in SMALL_NETWORKS:
        return SMALL_NETWORKS[backbone]()
    network: nn.Module = getattr(models, backbone)(weights=None)
    if isinstance(network, models.ResNet):
        parts = list(network.named_children())[:-2]  # avgpool, fc
        return nn.Sequential(OrderedDict(parts))
    features = network.features
    assert isinstance(features, nn.Module)
    return features
