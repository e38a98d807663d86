"""
Convolutions with the same result and a cheaper step; parameters keep their names.

What a step of MobileNetV2 spends, and what each of these saves: docs/performance.md, "Training".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn


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
        is_slow = pixels.dtype is torch.bfloat16 and pixels.device.type == "cpu"
        if is_slow and self._is_strided_depthwise():
            bias = None if bias is None else bias.to(pixels.dtype)
            return _StridedDepthwise.apply(  # type: ignore[no-untyped-call]
                pixels, weight.to(pixels.dtype), bias, self.stride, self.padding
            )
        return self._conv_forward(pixels, weight, bias)

    def _is_strided_depthwise(self) -> bool:
        side = self.kernel_size[0]
        return (
            self.groups == self.in_channels == self.out_channels > 1
            and self.stride[0] == self.stride[1] > 1
            and self.kernel_size == (side, side)
            and side % 2 == 1
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


class _StridedDepthwise(torch.autograd.Function):
    """
    Depthwise convolution with a stride, its input's gradient by one without.

    oneDNN 3 has no kernel of its own for this gradient in bf16: the general one took a quarter of
    a step. Put zeros between the gradients, and it is the convolution with the mirrored kernel.
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
        channels, step = weight.shape[0], ctx.stride[0]
        of_pixels = None
        if ctx.needs_input_grad[0]:
            spread = torch.zeros_like(pixels)
            spread[:, :, ::step, ::step] = gradient
            of_pixels = F.conv2d(spread, weight.flip(2, 3), None, 1, ctx.padding, groups=channels)
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient, pixels, weight, [channels], ctx.stride, ctx.padding, [1, 1], False, [0, 0],
            channels, [False, ctx.needs_input_grad[1], ctx.needs_input_grad[2]],
        )  # fmt: skip
        return of_pixels, of_weight, of_bias, None, None
