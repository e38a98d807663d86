"""The faster layers: same numbers, same names."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from torch import Tensor, nn

from training.compute.fast_layers import FastConv2d, FoldedConv2d, make_fast
from training.loop.optimiser import average_of

BACKBONES = ["mobilenet_v2", "efficientnet_b0", "resnet18"]


def _network(backbone: str) -> ImageNetwork:
    """A network whose norms do something, in evaluation mode."""
    torch.manual_seed(0)
    network = ImageNetwork(backbone, dropout=0.0).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def _pixels() -> torch.Tensor:
    return torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)


def _gradients(network: ImageNetwork, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    logits = network.logits(pixels)
    return (logits, *torch.autograd.grad(logits.sum(), list(network.parameters())))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("is_norm_frozen", [False, True])
def test_logits_and_gradients_are_those_of_the_plain_layers(
    backbone: str, is_norm_frozen: bool
) -> None:
    """With frozen norms as the plain network in evaluation mode, without exactly the same."""
    plain = _network(backbone)
    fast = copy.deepcopy(plain)
    make_fast(fast.features, is_norm_frozen=is_norm_frozen)
    pixels = _pixels()
    for one, other in zip(_gradients(plain, pixels), _gradients(fast, pixels), strict=True):
        apart = torch.linalg.vector_norm(one - other)
        assert apart <= (1e-4 if is_norm_frozen else 0) * torch.linalg.vector_norm(one) + 1e-6


def test_frozen_norms_keep_their_statistics_in_training() -> None:
    """Neither the batch nor the mode changes what comes out; plain norms do."""
    network = _network("mobilenet_v2")
    plain = copy.deepcopy(network).train()
    make_fast(network.features, is_norm_frozen=True)
    pixels = _pixels()
    expected = network.logits(pixels)
    before = {key: value.clone() for key, value in network.named_buffers()}
    network.train()
    torch.testing.assert_close(network.logits(pixels[:1]), expected[:1])
    assert all(torch.equal(before[key], value) for key, value in network.named_buffers())
    assert not torch.allclose(plain.logits(pixels[:1]), expected[:1], atol=1e-3)


@pytest.mark.parametrize("is_norm_frozen", [False, True])
def test_parameters_keep_their_names_and_their_order(is_norm_frozen: bool) -> None:
    """A checkpoint of the fast network is a checkpoint."""
    plain = _network("mobilenet_v2")
    names = list(plain.state_dict()), [name for name, _ in plain.named_parameters()]
    parameters = [id(parameter) for parameter in plain.parameters()]
    make_fast(plain.features, is_norm_frozen=is_norm_frozen)
    assert (list(plain.state_dict()), [name for name, _ in plain.named_parameters()]) == names
    assert [id(parameter) for parameter in plain.parameters()] == parameters


def test_what_a_fast_network_saved_scores_the_same(tmp_path: Path) -> None:
    """Trained folded, served plain: the logits are equal to float32's rounding."""
    fast = _network("mobilenet_v2")
    make_fast(fast.features, is_norm_frozen=True)
    folder = tmp_path / "best"
    checkpoint.save(folder, fast, {"epoch": 1})
    loaded, _ = checkpoint.load(folder)
    assert not any(isinstance(module, FastConv2d) for module in loaded.modules())
    pixels = _pixels()
    torch.testing.assert_close(loaded.logits(pixels), fast.logits(pixels), rtol=1e-4, atol=1e-5)


def test_a_moving_average_folds_its_own_norms() -> None:
    """A copy's convolutions use the copy's norms, not those they were copied from."""
    network = _network("mobilenet_v2")
    make_fast(network.features, is_norm_frozen=True)
    average = average_of(network, 0.5)
    assert average is not None
    pixels = _pixels()
    expected = average.module.logits(pixels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.testing.assert_close(average.module.logits(pixels), expected)


@pytest.mark.parametrize(
    ("side", "stride", "height"),
    [(3, 2, 12), (3, 2, 13), (3, 3, 14), (5, 1, 11), (5, 2, 12), (5, 2, 13), (7, 1, 9), (7, 3, 14)],
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_short_way_to_a_depthwise_gradient(
    side: int, stride: int, height: int, has_bias: bool
) -> None:
    """In bf16 the gradients are those of float64, but for bf16's rounding of their terms."""
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 16, side, stride, side // 2, groups=16, bias=has_bias)
    fast = FastConv2d(plain)
    pixels = torch.randn(2, 16, height, 10).bfloat16().requires_grad_()
    weight = plain.weight.bfloat16()
    bias = None if plain.bias is None else plain.bias.bfloat16()
    expected = F.conv2d(pixels, weight, bias, stride, side // 2, groups=16)
    got = fast(pixels)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert type(got.grad_fn).__name__ == "_DepthwiseBackward"
    upstream = torch.randn_like(expected)
    gradients = torch.autograd.grad(got, [pixels, *plain.parameters()], upstream)
    exact = _gradients_in_float64(pixels, weight, bias, stride, upstream)
    # Where a processor rounds is its own affair: after each product, or once at the end. Each
    # rounding is off by half an epsilon of a sum that is no larger than that of the sizes.
    sizes = _gradients_in_float64(
        pixels.abs(), weight.abs(), None if bias is None else bias.abs(), stride, upstream.abs()
    )
    for gradient, right, size in zip(gradients, exact, sizes, strict=True):
        assert ((gradient.double() - right).abs() <= torch.finfo(torch.bfloat16).eps * size).all()


def _gradients_in_float64(
    pixels: Tensor, weight: Tensor, bias: Tensor | None, stride: int, upstream: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of pixels, weight and, if there is one, bias."""
    inputs = [
        tensor.detach().double().requires_grad_()
        for tensor in (pixels, weight, bias)
        if tensor is not None
    ]
    bias64 = inputs[2] if bias is not None else None
    padding, groups = weight.shape[-1] // 2, weight.shape[0]
    maps = F.conv2d(inputs[0], inputs[1], bias64, stride, padding, groups=groups)
    return torch.autograd.grad(maps, inputs, upstream.double())


def test_a_norm_without_a_convolution_is_refused() -> None:
    """Better than a network that says one thing in training and another when served."""
    features = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="norm: expected a convolution before 1, got none"):
        make_fast(features, is_norm_frozen=True)


def test_only_frozen_norms_are_folded() -> None:
    """With batch statistics there is nothing to fold."""
    network = _network("mobilenet_v2")
    make_fast(network.features, is_norm_frozen=False)
    kinds = {type(module) for module in network.features.modules()}
    assert FastConv2d in kinds and nn.BatchNorm2d in kinds and FoldedConv2d not in kinds
