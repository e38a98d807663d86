"""
A user's own network behind the project's input and outputs, and checked before training.

Its function (`user_function`) returns an `nn.Module`: float32 (N, C, H, W) -> logits, one a class,
or one number before the sigmoid for quality. What the function was called with stands in the card.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from iqa.imaging.preprocessing import Policy
from iqa.network.model import Network
from iqa.tasks.task import Head
from torch import Tensor, nn

from training.networks import timm_models
from training.networks.names import TIMM
from training.networks.user_function import function_of, parameter_names

# Of the largest logit: of two machines, or two builds of torch. Another activation moves it more.
MAX_DIFFERENCE: Final = 1e-3
PROBE_OUTPUTS: Final = 16


class OwnNetwork(Network):
    """
    A user's network behind the project's input and outputs.

    Args:
        name: `module:function` or `timm:NAME`.
        parameters: What its function is called with, see
            `user_function.parameters_of`.
        head: Its outputs.
        policy: How an image becomes its input.

    Raises:
        ValueError: It cannot be made, or its logits are of another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, parameters: Mapping[str, Any], head: Head, policy: Policy
    ) -> None:
        super().__init__()
        self.backbone, self.ends_in, self.n_channels = name, head, policy.n_channels
        self.parameters_of_function = dict(parameters)
        self.example_px = (policy.height_px, policy.width_px)
        self.takes_any_size = not policy.is_one_size
        function = function_of(name)
        # As the function's own defaults have them: JSON knows no tuples.
        called = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in parameters.items()
            if key in parameter_names(function)
        }
        try:
            network = function(**called)
        except Exception as error:
            raise ValueError(
                f"network {name}: expected an nn.Module from a call with {called}, got "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"network {name}: expected an nn.Module, got {type(network).__name__}."
            )
        self.network = network
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ValueError(f"network {name}: expected weights to train, got none.")
        for key, value in (("mean", parameters["mean"]), ("std", parameters["std"])):
            values = 255 * torch.tensor(value, dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(key, values, persistent=False)
        self.expect_shape()

    def logits(self, pixels_NHWC: Tensor) -> Tensor:
        """See `Network`."""
        # Transposed pixels give transposed maps, which `view`, as many networks end, does not take.
        # `contiguous` would leave those of one channel.
        batch_NCHW = pixels_NHWC.permute(0, 3, 1, 2).float()
        batch_NCHW = batch_NCHW.clone(memory_format=torch.contiguous_format)
        logits: Tensor = self.network((batch_NCHW - self.mean) / self.std).float()
        return logits.flatten() if self.ends_in.n_outputs == 1 else logits

    def architecture(self) -> dict[str, Any]:
        """See `Network`; `probe` is what `expect_outputs` compares with."""
        return {
            "backbone": self.backbone,
            "outputs": self.ends_in.outputs,
            "parameters": self.parameters_of_function,
            "probe": self.probe(),
        }

    @property
    def last_layer(self) -> nn.Module | None:
        """Return what timm calls the classifier, or the part called `head`."""
        get = getattr(self.network, "get_classifier", None)
        found = get() if callable(get) else getattr(self.network, "head", None)
        return found if isinstance(found, nn.Module) and _has_weights(found) else None

    @property
    def parts(self) -> list[nn.Module]:
        """Return the children that have weights, without the one that holds the last layer."""
        return [
            child
            for child in self.network.children()
            if _has_weights(child)
            and all(module is not self.last_layer for module in child.modules())
        ]

    def probe(self) -> list[float]:
        """Return the first logits for an image that is always the same; six decimals."""
        height, width = self.example_px
        places = torch.arange(height * width * self.n_channels)
        pixels = ((places * 7919) % 256).to(torch.uint8).view(1, height, width, self.n_channels)
        with torch.inference_mode():
            logits = copy.deepcopy(self).cpu().eval().logits(pixels)
        return [round(float(value), 6) for value in logits.flatten()[:PROBE_OUTPUTS]]

    def pretrained(self) -> dict[str, Tensor]:
        """
        Return weights to start from, of timm.

        Raises:
            ValueError: There are none.
        """
        if not self.backbone.startswith(TIMM):
            raise ValueError(
                f"--weights: expected none or a file for {self.backbone}, got imagenet."
            )
        name = self.backbone.removeprefix(TIMM)
        return timm_models.pretrained(name, self.n_channels)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """
        Take over weights; a last layer for other classes is left out.

        Args:
            state: Tensors by their names in the user's module.

        Raises:
            ValueError: Weights are missing, or of another shape.
        """
        layer = self.last_layer
        last = set() if layer is None else {id(one) for one in layer.parameters()}
        wanted = self.network.state_dict(keep_vars=True)
        found = {
            name: state[name]
            for name, tensor in wanted.items()
            if name in state and state[name].shape == tensor.shape
        }
        missing = [n for n, tensor in wanted.items() if n not in found and id(tensor) not in last]
        if missing:
            raise ValueError(
                f"--weights: expected {len(wanted)} tensors of {self.backbone}, got {len(state)}, "
                f"of which {len(missing)} are missing or of another shape (first: {missing[0]})."
            )
        self.network.load_state_dict(found, strict=False)

    def expect_outputs(self, probe: Sequence[float]) -> None:
        """
        Check that the code around the weights is still the one that was trained.

        Raises:
            ValueError: The same weights give other outputs.
        """
        differences = [abs(a - b) for a, b in zip(self.probe(), probe, strict=True)]
        limit = MAX_DIFFERENCE * max(1.0, *map(abs, probe))
        if not all(difference <= limit for difference in differences):  # false for NaN too
            apart = max(differences)
            raise ValueError(
                f"network {self.backbone}: expected the logits that its weights gave in training, "
                f"got others, {apart:.4f} apart. Its code or its package has changed since: "
                "restore it, or train again."
            )

    def expect_shape(self) -> None:
        """
        Check that it takes two images of its size and returns logits of the stated shape.

        Raises:
            ValueError: It does not.
        """
        n = self.ends_in.n_outputs
        batch = torch.zeros(2, self.n_channels, *self.example_px)
        was_training = self.network.training
        try:
            with torch.no_grad():
                got = self.network.eval()(batch)
        except Exception as error:
            raise ValueError(
                f"network {self.backbone}: expected logits for a batch of shape "
                f"{tuple(batch.shape)}, got {type(error).__name__}: {error}"
            ) from error
        self.network.train(was_training)
        shapes = [(2, n)] if n > 1 else [(2, 1), (2,)]
        if not isinstance(got, Tensor) or tuple(got.shape) not in shapes:
            said = f"a tensor of shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got)
            raise ValueError(
                f"network {self.backbone}: expected logits of shape {shapes[0]} for two images, "
                f"got {said}. Its last layer needs {n} outputs: take the parameter n_outputs."
            )


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())
