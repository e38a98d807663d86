"""Which part of a network is trained: `--train head`, `last:N`, or `all`."""

from __future__ import annotations

import argparse
import re

from iqa.network.model import ImageNetwork
from torch import nn

ALL = "all"
HEAD = "head"


def trained_part(text: str) -> str:
    """Check `head`, `last:N` or `all`; for argparse."""
    if text in (ALL, HEAD) or re.fullmatch(r"last:[1-9]\d*", text):
        return text
    raise argparse.ArgumentTypeError(f"expected head, last:N or all, got {text!r}.")


def freeze(network: ImageNetwork, train: str) -> list[nn.Module]:
    """
    Take the gradients from all that is not trained.

    Args:
        network: Changed in place.
        train: `head`; `last:N`, the head and the last N children of the feature layers; or `all`.

    Returns:
        The frozen modules: their norms and dropouts belong into evaluation mode.

    Raises:
        ValueError: The network has not so many children.
    """
    if train == ALL:
        return []
    children = list(network.features.children())
    n = 0 if train == HEAD else int(train.removeprefix("last:"))
    if n >= len(children):
        raise ValueError(
            f"--train: expected last:1 to last:{len(children) - 1} of {network.backbone}, got "
            f"{train}. Use --train all."
        )
    frozen = children[: len(children) - n]
    for child in frozen:
        child.requires_grad_(False)
    return frozen
