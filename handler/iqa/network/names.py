"""Which networks there are, by name; does not wait for torch."""

from __future__ import annotations

from typing import Final

FEATURES_OF_BACKBONE: Final[dict[str, int]] = {
    "efficientnet_b0": 1280,
    "resnet18": 512,
    "mobilenet_v2": 1280,
}
"""The backbones, and how many feature maps each ends in."""

FEATURES_OF_SMALL_NETWORK: Final[dict[str, int]] = {"residual_small": 128, "cnn4": 256}
"""The networks for small images, which start from nothing, and how many maps each ends in."""

NETWORKS: Final[dict[str, int]] = FEATURES_OF_BACKBONE | FEATURES_OF_SMALL_NETWORK

POOLINGS: Final = ("average", "average+std", "average+max")
"""What the head sees of each feature map, over all its places."""


def is_own(backbone: str) -> bool:
    """
    Tell whether a name is that of a user's own network: `module:function`, or `timm:NAME`.

    Its code is not in this package. Training finds it by the name (`training.networks`); what
    serves runs its graph, and never imports it.
    """
    return ":" in backbone
