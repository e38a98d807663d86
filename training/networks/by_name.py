"""
Make a network by its name, or load it from a checkpoint.

The one place that chooses between the networks of `iqa.network.names.NETWORKS` and a user's own.
"""

from __future__ import annotations

from pathlib import Path

from iqa.imaging.preprocessing import Policy
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork, Network
from iqa.network.names import is_own
from iqa.tasks.task import Head
from iqa.tasks.task_table import task_of

from training.networks import user_function, user_network


def make(
    name: str,
    head: Head,
    policy: Policy,
    dropout: float = 0.2,
    pooling: str = "average",
    hidden_channels: tuple[int, ...] | None = None,
) -> Network:
    """
    Make a network with random weights.

    Args:
        name: A key of `NETWORKS`, `module:function` or `timm:NAME`.
        head: What it ends in.
        policy: How an image becomes its input.
        dropout: Probability before the last layer, where the network takes one.
        pooling: Of this project's.
        hidden_channels: Of a narrower network of this project, see `iqa.network.pruned_mobilenet`.

    Raises:
        ValueError: There is no such network, or it does not do what is asked.
    """
    if not is_own(name):
        return ImageNetwork(name, dropout, pooling, head, policy.n_channels, hidden_channels)
    if pooling != "average":
        raise ValueError(
            f"--pooling: expected it left out with {name}, which pools by itself, got {pooling}."
        )
    function = user_function.function_of(name)
    return user_network.OwnNetwork(
        name, user_function.parameters_of(function, name, head, policy, dropout), head, policy
    )


def load(directory: Path) -> tuple[Network, checkpoint.Card]:
    """
    Read a checkpoint and rebuild its network; a user's own is imported by the name in the card.

    Raises:
        FileNotFoundError: A file is missing.
        CheckpointMismatch: The card and this code, or the card and the weights, disagree.
        ValueError: The network's module cannot be imported, or is no longer the one that was
            trained.
    """
    network, card = checkpoint.load(directory, _network_of)
    if isinstance(network, user_network.OwnNetwork):
        network.expect_outputs(card["architecture"]["probe"])
    return network, card


def _network_of(card: checkpoint.Card) -> Network:
    told = card["architecture"]
    if not is_own(told["backbone"]):
        return checkpoint.image_network(card)
    head, policy = task_of(card).head(card), checkpoint.policy_of(card)
    return user_network.OwnNetwork(told["backbone"], told["parameters"], head, policy)
