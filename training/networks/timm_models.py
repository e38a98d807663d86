"""
Networks of timm (PyTorch Image Models), where it is installed: `timm:NAME`.

Only names of its own list: others would let it fetch code and weights from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from torch import Tensor, nn

from training.networks.names import TIMM


def function_of(name: str) -> Callable[..., nn.Module]:
    """
    Return what makes a network, its input stated by its defaults as in a user's module.

    Args:
        name: As `timm.list_models()` has it, perhaps with a dot and the name of weights.

    Raises:
        ValueError: timm is not installed, or has no such network.
    """
    timm = _timm(name)
    told = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if told is None:
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise ValueError(
            f"network {TIMM}{name}: expected a network of timm {timm.__version__}, got none of "
            f"that name{f' (similar: {close})' if close else ''}. timm.list_models() names all."
        )
    _, height, width = told.input_size

    def network(
        n_outputs: int,
        n_channels: int = 3,
        image_size: tuple[int, int] = (width, height),
        dropout: float = 0.0,
        mean: tuple[float, ...] = told.mean,
        std: tuple[float, ...] = told.std,
    ) -> nn.Module:
        size = {} if tuple(image_size) == (width, height) else {"img_size": image_size[::-1]}
        made: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=n_outputs, in_chans=n_channels, drop_rate=dropout,
            **(size if told.fixed_input_size else {}),
        )  # fmt: skip
        return made

    return network


def pretrained(name: str, n_channels: int) -> dict[str, Tensor]:
    """
    Download the weights that timm knows of a network.

    Args:
        name: See `function_of`.
        n_channels: Of its input; timm adds up those of the colours for one channel.

    Returns:
        Its tensors by name, with a last layer for the classes that it was trained on.

    Raises:
        ValueError: There are none, or no access.
    """
    timm = _timm(name)
    try:
        made: nn.Module = timm.create_model(name, pretrained=True, in_chans=n_channels)
    except Exception as error:  # of three libraries for three protocols
        raise ValueError(
            f"--weights imagenet: expected to download the weights of {TIMM}{name}, got "
            f"{type(error).__name__}: {error}. On a machine without access: --weights FILE, or "
            "none to start from nothing."
        ) from error
    return made.state_dict()


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"network {TIMM}{name}: expected the package timm, got: {error}. Install it: "
            ".venv/bin/python -m pip install --require-hashes -r training/networks/requirements.txt"
        ) from error
    return timm
