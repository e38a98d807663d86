"""
Convolutions with the same result and a cheaper step; parameters keep their names.

What a step of MobileNetV2 spends, and what each of these saves: docs/performance.md, "Training".
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn

TILE: Final = 3
"""Side of the depthwise kernels whose gradients oneDNN takes quickly in bf16."""


class FastConv2d(nn.Conv2d):
    """
    A convolution whose gradient is taken another way where torch's own is slow.

    Args:
        conv: Its shape and its parameters, which are shared and not copied.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({k: v for k, v in conv.__dict__.items() if not k.startswith("_")})
        self._reversed_padding_repeated_twice = conv._reversed_padding_repeated_twice
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, pixels: Tensor) -> Tensor:
        """Convolve: (N, C, H, W) -> (N, C', H', W')."""
        return self._convolve(pixels, self.weight, self.bias)

    def _convolve(self, pixels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_bf16_on_cpu = pixels.dtype is torch.bfloat16 and pixels.device.type == "cpu"
        if is_bf16_on_cpu and self._is_slow_depthwise():
            bias = None if bias is None else bias.to(pixels.dtype)
            return _Depthwise.apply(  # type: ignore[no-untyped-call]
                pixels, weight.to(pixels.dtype), bias, self.stride, self.padding
            )
        return self._conv_forward(pixels, weight, bias)

    def _is_slow_depthwise(self) -> bool:
        side = self.kernel_size[0]
        return (
            self.groups == self.in_channels == self.out_channels > 1
            and self.stride[0] == self.stride[1]
            and self.kernel_size == (side, side)
            and side % 2 == 1
            and (self.stride[0] > 1 or side > TILE)
            and self.padding == (side // 2, side // 2)
            and self.dilation == (1, 1)
        )


class FoldedConv2d(FastConv2d):
    """
    A convolution and the batch norm after it with fixed statistics, in one pass.

    In float32 the same as the two after another, for `norm` in evaluation mode. All parameters of
    both are trained; only the norm's statistics stay.

    Args:
        conv: See `FastConv2d`.
        norm: Takes the convolution's output. To be replaced by a `Folded`.
    """

    def __init__(self, conv: nn.Conv2d, norm: Folded) -> None:
        super().__init__(conv)
        self.__dict__["norm"] = norm  # not a child: its parameters have a name already

    def forward(self, pixels: Tensor) -> Tensor:
        """Convolve and normalise: (N, C, H, W) -> (N, C', H', W')."""
        norm: Folded = self.__dict__["norm"]
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight = self.weight * scale.view(-1, 1, 1, 1)
        bias = norm.bias - mean * scale
        return self._convolve(
            pixels, weight, bias if self.bias is None else bias + self.bias * scale
        )


class Folded(nn.BatchNorm2d):
    """
    A batch norm that a `FoldedConv2d` before it has done.

    Args:
        norm: Its parameters and statistics, which are shared and not copied.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({k: v for k, v in norm.__dict__.items() if not k.startswith("_")})
        self.weight, self.bias = norm.weight, norm.bias
        for name, statistic in norm.named_buffers(recurse=False):
            self.register_buffer(name, statistic)

    def forward(self, maps: Tensor) -> Tensor:
        """Return what it is given."""
        return maps


def make_fast(features: nn.Module, *, is_norm_frozen: bool) -> None:
    """
    Replace the convolutions of a network, and with frozen norms the batch norms after them.

    Args:
        features: Changed in place; its parameters and their names stay.
        is_norm_frozen: The norms keep their statistics, in training as in evaluation.
    """
    for parent in list(features.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if is_norm_frozen and isinstance(child, nn.BatchNorm2d):
                if before is None:
                    raise ValueError(f"norm: expected a convolution before {name}, got none.")
                norm = Folded(child)
                setattr(parent, before[0], FoldedConv2d(before[1], norm))
                setattr(parent, name, norm)
            before = (name, child) if isinstance(child, nn.Conv2d) else None
            if before is not None:
                setattr(parent, name, FastConv2d(before[1]))


class _Depthwise(torch.autograd.Function):
    """
    Depthwise convolution whose gradients are sums that oneDNN 3 has fast kernels for in bf16.

    It has none for the gradient of the input where there is a stride: that took a quarter of a
    step of MobileNetV2. Put zeros between the gradients, and it is the convolution with the
    mirrored kernel. Nor for that of a kernel of more than 3 x 3, a third of a step of
    EfficientNet-B0: it is put together from those of the 3 x 3 tiles that cover it.
    """

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, weight: Tensor, bias: Tensor | None,
        stride: tuple[int, int], padding: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(pixels, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(pixels, weight, bias, stride, padding, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        pixels, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        of_pixels = None
        if ctx.needs_input_grad[0]:
            of_pixels = _gradient_of_pixels(gradient, pixels, weight, stride, padding)
        if weight.shape[-1] > TILE:
            of_weight = _gradient_by_tiles(gradient, pixels, weight, stride, padding)
            of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        else:
            of_weight, of_bias = _gradients_of_parameters(
                gradient, pixels, weight, stride, padding, has_bias=ctx.needs_input_grad[2]
            )
        return of_pixels, of_weight, of_bias, None, None


def _gradient_of_pixels(
    gradient: Tensor, pixels: Tensor, weight: Tensor,
    stride: tuple[int, int], padding: tuple[int, int],
) -> Tensor:  # fmt: skip
    if stride[0] > 1:
        spread = torch.zeros_like(pixels)
        spread[:, :, :: stride[0], :: stride[0]] = gradient
        gradient = spread
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, groups=weight.shape[0])


def _gradients_of_parameters(
    gradient: Tensor, pixels: Tensor, weight: Tensor,
    stride: tuple[int, int], padding: tuple[int, int], *, has_bias: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    channels = weight.shape[0]
    _, of_weight, of_bias = torch.ops.aten.convolution_backward(
        gradient, pixels, weight, [channels], stride, padding, [1, 1], False, [0, 0], channels,
        [False, True, has_bias],
    )  # fmt: skip
    return of_weight, of_bias


def _gradient_by_tiles(
    gradient: Tensor, pixels: Tensor, weight: Tensor,
    stride: tuple[int, int], padding: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Return the gradient of a large kernel, put together from those of 3 x 3 tiles of it."""
    side = weight.shape[-1]
    height, width = ((n - 1) * stride[0] + TILE for n in gradient.shape[2:])
    padded = F.pad(pixels, (padding[1], padding[1], padding[0], padding[0]))
    tile = weight[:, :, :TILE, :TILE].contiguous()  # only its shape matters
    result = torch.empty_like(weight)
    # Sides are odd: neighbours share a row, and the last tile ends where the kernel does.
    starts = range(0, side - TILE + 1, TILE - 1)
    for top, left in itertools.product(starts, starts):
        seen = padded[:, :, top : top + height, left : left + width]
        seen = seen.contiguous(memory_format=torch.channels_last)
        of_tile, _ = _gradients_of_parameters(gradient, seen, tile, stride, (0, 0), has_bias=False)
        result[:, :, top : top + TILE, left : left + TILE] = of_tile
    return result
