"""Networks as a user would write them in a module of their own, right and wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATION: type[nn.Module] = nn.ReLU


class Shapes(nn.Module):
    """Two convolutions; its last layer is called `head`, and it ends in `view`."""

    def __init__(self, n_outputs: int, n_channels: int, side: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(n_channels, 16, 3, padding=1), nn.BatchNorm2d(16), ACTIVATION(),
            nn.MaxPool2d(2),
        )  # fmt: skip
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(16 * (side // 4) ** 2, n_outputs)

    def forward(self, batch: Tensor) -> Tensor:
        """(N, C, H, W) in about [-2, 2] -> (N, n_outputs)."""
        maps = self.second(self.first(batch))
        logits: Tensor = self.head(maps.view(maps.shape[0], -1))
        return logits


def shapes(
    n_outputs: int,
    n_channels: int,
    image_size: tuple[int, int] = (28, 28),
    channels: str = "L",
    mean: float = 0.5,
    std: float = 0.25,
) -> nn.Module:
    """Return a network whose input is 28 x 28 and grey."""
    return Shapes(n_outputs, n_channels, image_size[0])


def headless(n_outputs: int, channels: str = "L") -> nn.Module:
    """Return a network whose last layer has no name."""
    return nn.Sequential(
        nn.Conv2d(len(channels), 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, n_outputs),
    )  # fmt: skip


def tied(n_outputs: int) -> nn.Module:
    """Return a network that uses a layer under two names."""
    first, same = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
    parts = [first, same, nn.ReLU(), same, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(4, n_outputs))


def ten_outputs(n_outputs: int) -> nn.Module:
    """Ignore what is asked."""
    return headless(10, "RGB")


class OfTheBatch(nn.Module):
    """Its outputs for an image depend on those beside it."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.inner = headless(n_outputs, "RGB")

    def forward(self, batch: Tensor) -> Tensor:
        """Turn the first image in the batch around, by a number that tracing fixes."""
        logits: Tensor = self.inner(batch)
        return logits * float(batch.shape[0])


class NotExportable(nn.Module):
    """Uses what ONNX has no word for."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.inner = headless(n_outputs, "RGB")

    def forward(self, batch: Tensor) -> Tensor:
        """Go by the Bessel function of the mean."""
        logits: Tensor = self.inner(batch)
        return logits + torch.special.bessel_j0(batch.mean(dim=(1, 2, 3)))[:, None]


def of_the_batch(n_outputs: int) -> nn.Module:
    """Return a network that is traced wrongly."""
    return OfTheBatch(n_outputs)


def not_exportable(n_outputs: int) -> nn.Module:
    """Return a network without a graph."""
    return NotExportable(n_outputs)


def needs_more(n_outputs: int, depth: int) -> nn.Module:
    """Ask for what nobody knows."""
    return headless(n_outputs)


def no_module(n_outputs: int) -> str:
    """Return something else."""
    return "network"


def without_weights(n_outputs: int) -> nn.Module:
    """Return nothing to train."""
    return nn.Flatten()


def fails(n_outputs: int) -> nn.Module:
    """Raise."""
    raise RuntimeError("no such layer")


def takes_nothing() -> nn.Module:
    """Must not be called: it does not say that it makes networks."""
    raise AssertionError("called")
