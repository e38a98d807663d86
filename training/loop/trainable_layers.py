"""Which part of a network is trained: `--train head`, `last:N`, or `all`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch: the command line does not wait for it
    from iqa.network.model import Network
    from torch import nn

ALL = "all"
HEAD = "head"


def trained_part(text: str) -> str:
    """Check `head`, `last:N` or `all`; for argparse."""
    if text in (ALL, HEAD) or re.fullmatch(r"last:[1-9]\d*", text):
        return text
    raise argparse.ArgumentTypeError(f"expected head, last:N or all, got {text!r}.")


def freeze(network: Network, train: str) -> list[nn.Module]:
    """
    Take the gradients from all that is not trained.

    Args:
        network: Changed in place.
        train: `head`; `last:N`, the head and the last N parts before it; or `all`.

    Returns:
        The frozen modules: their norms and dropouts belong into evaluation mode.

    Raises:
        ValueError: The network has not so many parts, or they are not known.
    """
    if train == ALL:
        return []
    last = network.last_layer
    if last is None:
        raise ValueError(
            f"--train: expected all of {network.backbone}, whose last layer is not known, got "
            f"{train}. Name that layer `head`, or use --train all."
        )
    parts = network.parts
    n = 0 if train == HEAD else int(train.removeprefix("last:"))
    if n >= len(parts):
        raise ValueError(
            f"--train: expected last:1 to last:{len(parts) - 1} of {network.backbone}, got "
            f"{train}. Use --train all."
        )
    frozen = parts[: len(parts) - n]
    trained = {id(p) for module in (*parts[len(parts) - n :], last) for p in module.parameters()}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in trained)
    return frozen
