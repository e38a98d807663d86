"""The network before the first step: ImageNet weights through torchvision, none, or a file's."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from iqa.network.checkpoint import sha256_of
from iqa.network.model import ImageNetwork, Network
from iqa.network.pruned_mobilenet import PRUNABLE, hidden_channels_in, hidden_channels_of
from safetensors.torch import load_file
from torch import Tensor
from torchvision import models

from training.compute.fast_layers import make_fast
from training.data.ratings import Ratings
from training.loop.config import TrainConfig
from training.networks import by_name
from training.networks.user_network import OwnNetwork
from training.tasks.task import TrainingTask


def starting_network(
    config: TrainConfig, task: TrainingTask, data: Ratings, device: torch.device
) -> Network:
    """
    Return the network as it is before the first step, laid out for speed.

    Args:
        config: Names the backbone and its weights.
        task: What it ends in, and where its head starts.
        data: To train on.
        device: Where it is put.

    Raises:
        FileNotFoundError: No such file of weights.
        ValueError: The weights are refused, or the network is.
    """
    train = data.splits["train"]
    network = by_name.make(
        config.backbone, task.head(data.facts), train.policy, config.dropout, config.pooling,
        fewer_hidden_channels(config.backbone, config.weights),
    )  # fmt: skip
    start_from(network, config.weights)
    if not isinstance(network, ImageNetwork):
        _expect_known_parts(network, config)
        return network.to(device)
    task.start_head(network.head, train.target)
    if config.keep_head:
        keep_head(network, config.weights)
    make_fast(network.features, is_norm_frozen=config.norm == "frozen")
    network.to(device)
    # Faster on CPU and GPU; torch's stubs lack the argument.
    network.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _expect_known_parts(network: Network, config: TrainConfig) -> None:
    """
    Check that nothing is asked for that needs parts of a user's network that are not known.

    Raises:
        ValueError: It would be ignored.
    """
    if config.norm == "frozen":
        raise ValueError(
            f"--norm: expected batch with {network.backbone}, whose order of layers is not known, "
            "got frozen."
        )
    usual = TrainConfig.head_lr_factor
    if network.last_layer is None and config.head_lr_factor not in (usual, 1.0):
        raise ValueError(
            f"--head-lr-factor: expected it left out with {network.backbone}, whose last layer is "
            f"not known, got {config.head_lr_factor:g}. Name that layer `head`, or use --lr alone."
        )


def start_from(network: Network, weights: str) -> None:
    """
    Load starting weights into all but the last layer.

    Args:
        network: Changed in place.
        weights: `imagenet`, `none`, or the path of weights as torchvision, or the module of a
            user's own, names them (safetensors, or a state dict saved by torch). A classifier in
            the file is left out.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file does not hold this backbone's weights, or the download failed.
    """
    if isinstance(network, OwnNetwork):
        if weights == "imagenet":
            network.start_from(network.pretrained())
        elif weights != "none":
            network.start_from(_read(Path(weights)))
        return
    assert isinstance(network, ImageNetwork)
    if weights == "imagenet":
        network.features.load_state_dict(_as_features(network, _download(network.backbone)))
    elif weights != "none":
        network.features.load_state_dict(_as_features(network, _read(Path(weights))))


def fewer_hidden_channels(backbone: str, weights: str) -> tuple[int, ...] | None:
    """
    Return how many hidden channels each block has in a file of `training.prune`.

    Args:
        backbone: Its name.
        weights: `imagenet`, `none`, or a path.

    Returns:
        None where the network has all of them, and where its blocks cannot be narrower.

    Raises:
        FileNotFoundError: No such file.
    """
    if backbone not in PRUNABLE or weights in ("imagenet", "none"):
        return None
    found = hidden_channels_in(_read(Path(weights)))
    usual = hidden_channels_of(ImageNetwork(backbone).features)
    is_narrower = len(found) == len(usual) and found != usual
    return found if is_narrower else None


def keep_head(network: ImageNetwork, weights: str) -> None:
    """
    Load the last layer as well, from a checkpoint of the same architecture.

    Args:
        network: Changed in place.
        weights: Path of a checkpoint's weights.

    Raises:
        ValueError: The file has no such layer.
    """
    state = _read(Path(weights))
    prefix = "head."
    found = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    shapes = {name: t.shape for name, t in network.head.state_dict().items()}
    if {name: t.shape for name, t in found.items()} != shapes:
        raise ValueError(
            f"--keep-head: expected {prefix}weight and {prefix}bias of {network.backbone} in "
            f"{Path(weights).name}, got {', '.join(found) or 'neither'}. Leave the option out."
        )
    network.head.load_state_dict(found)


def identity_of(weights: str) -> str:
    """Return what says which weights these are wherever they lie: a file's name and SHA-256."""
    if weights in ("imagenet", "none"):
        return weights
    return f"{Path(weights).name}, SHA-256 {sha256_of(Path(weights))}"


def _download(backbone: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = models.get_model_weights(backbone)[
            "IMAGENET1K_V1"
        ].get_state_dict(check_hash=True)
    except (URLError, OSError) as error:
        raise ValueError(
            f"--weights imagenet: expected to download {backbone}'s weights, got: {error}. "
            "On a machine without access: --weights FILE."
        ) from error
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"--weights: expected imagenet, none or a file, got {path}.")
    if path.suffix == ".safetensors":
        return load_file(path)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _as_features(network: ImageNetwork, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep the entries that the feature layers need, under their names there."""
    wanted = network.features.state_dict()
    # torchvision's ResNet has no part called features: its layers lie at the top.
    found = {
        name.removeprefix("features."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    missing = [
        name
        for name, tensor in wanted.items()
        if not name.endswith("num_batches_tracked")
        and (name not in found or found[name].shape != tensor.shape)
    ]
    if missing:
        raise ValueError(
            f"--weights: expected {len(wanted)} tensors of {network.backbone}, got {len(state)}, "
            f"of which {len(missing)} are missing or of another shape (first: {missing[0]})."
        )
    return {name: found.get(name, tensor) for name, tensor in wanted.items()}
