"""The cells of a sweep: a backbone, a learning rate, a number of epochs; and how they are named."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from iqa.network.names import FEATURES_OF_BACKBONE, FEATURES_OF_SMALL_NETWORK, NETWORKS

SETTINGS: Final = ((1e-3, 3), (3e-4, 5), (1e-4, 6))
"""Learning rate and epochs of the experiments."""
OWN_OPTIONS: Final = ("backbone", "lr", "epochs", "out", "resume", "restart", "run_name")
"""Options of training that a sweep sets itself, for each cell."""


@dataclass(frozen=True)
class Cell:
    """One experiment of a sweep."""

    backbone: str
    lr: float
    epochs: int

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read BACKBONE:LR:EPOCHS; for argparse."""
        try:
            backbone, lr, epochs = text.split(":")
            cell = cls(backbone, float(lr), int(epochs))
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"expected BACKBONE:LR:EPOCHS, e.g. mobilenet_v2:3e-4:5, got {text!r}."
            ) from error
        if backbone not in NETWORKS or not (cell.lr > 0 and cell.epochs > 0):
            known = ", ".join(NETWORKS)
            raise argparse.ArgumentTypeError(
                f"expected a backbone of {known} and numbers above 0, got {text!r}."
            )
        return cell

    def __str__(self) -> str:
        return f"{self.backbone}:{self.lr:g}:{self.epochs}"


ALL_CELLS: Final = tuple(
    Cell(backbone, lr, epochs) for backbone in FEATURES_OF_BACKBONE for lr, epochs in SETTINGS
)


def cells_for(backbone: str, lr: float, epochs: int) -> tuple[Cell, ...]:
    """
    Return the experiments for a data set, by the settings that it brings along.

    Small images are for small networks: each at twice, once and half the rate. Others have the
    nine.
    """
    if backbone not in FEATURES_OF_SMALL_NETWORK:
        return ALL_CELLS
    return tuple(
        Cell(name, share * lr, epochs)
        for name in FEATURES_OF_SMALL_NETWORK
        for share in (2.0, 1.0, 0.5)
    )


def weights_for(backbone: str, weights: str) -> str:
    """Return where a network starts that nobody named weights for: small ones have no ImageNet."""
    return "none" if backbone in FEATURES_OF_SMALL_NETWORK and weights == "imagenet" else weights


def parse_weights_of(text: str) -> tuple[str, str]:
    """Read BACKBONE=VALUE; for argparse."""
    backbone, _, value = text.partition("=")
    if backbone not in NETWORKS or not value:
        known = ", ".join(NETWORKS)
        raise argparse.ArgumentTypeError(
            f"expected BACKBONE=VALUE with a backbone of {known}, got {text!r}."
        )
    return backbone, value
