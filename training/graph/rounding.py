"""
A network whose weights are exact in bfloat16, so that computing in bfloat16 barely moves its score.

Told to compute in bfloat16, a runtime rounds every weight and bias to 8 bits of mantissa. The
shipped network then misses by 0.8 points at the median and 5 at the 99th percentile: a few of
its folded biases are in the hundreds, and filters that cancel to nothing on flat areas stop
cancelling. Three steps, in exact arithmetic but for the second, bring that to 0.07 and 0.4:

1. `centre`: tensors between blocks get mean zero, the next biases take the mean up. What was a
   difference of large numbers becomes a small one.
2. `round_with_feedback`: weights are rounded one by one, each error handed on to those not yet
   rounded, so that the output on real pictures stays (Frantar et al., GPTQ, arXiv 2210.17323).
3. `match_head`: the last bias takes up what is left of the mean difference. It stays float32.

Figures by step: docs/decisions/0011-bf16-by-rounding-with-care.md.
"""

from __future__ import annotations

import copy
import itertools
from typing import Final

import torch
from iqa.network.model import ImageNetwork, Network, activated, pool, three_channels
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.efficientnet import MBConv
from torchvision.models.mobilenetv2 import InvertedResidual

# Early layers see fine detail at large size, and feed all others: rounding the first dozen to the
# nearest costs 1.5 points at the 99th percentile, all others together 0.2.
LAYERS_WITH_FEEDBACK: Final = 16
MAX_INPUTS_WITH_FEEDBACK: Final = 160  # the time grows with their cube
DAMPING: Final = 1e-5  # of the mean of the Gram matrix's diagonal


class RoundedNetwork(nn.Module):
    """
    A `ImageNetwork` with folded batch norms and the normalisation folded into its first layer.

    Args:
        network: Is copied; in evaluation mode, on the CPU.
    """

    shift: Tensor
    example_px, takes_any_size = Network.example_px, Network.takes_any_size

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.features = copy.deepcopy(network.features)
        self.head = copy.deepcopy(network.head)
        self._pooling, self._ends_in = network.pooling, network.ends_in
        self.n_channels = network.n_channels
        _fold_batch_norms(self.features)
        # Whole numbers: pixels minus them are exact in bfloat16. The difference to the true mean,
        # under half a grey level, goes into the bias; only the padding at the edges sees it.
        self.register_buffer("shift", torch.round(network.mean))
        first = _convolutions(self.features)[0]
        weight = first.weight.data / network.std
        _bias(first).data += (weight * (self.shift - network.mean)).sum((1, 2, 3))
        first.weight.data = weight

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the outputs for uint8 (N, H, W, C), as the network does."""
        return activated(self.logits(pixels_NHWC), self._ends_in)

    def logits(self, pixels_NHWC: Tensor) -> Tensor:
        """Return the outputs before the activation: float32, shape (N,) or (N, K)."""
        maps = self.features(three_channels(pixels_NHWC, self.n_channels) - self.shift)
        logits: Tensor = self.head(pool(maps, self._pooling))
        return logits.squeeze(1) if self._ends_in.n_outputs == 1 else logits


@torch.no_grad()
def rounded(network: ImageNetwork, pictures: list[Tensor]) -> RoundedNetwork:
    """
    Make a network for bfloat16.

    Args:
        network: In evaluation mode, on the CPU; unchanged.
        pictures: Some dozens, uint8 (H, W, C), preprocessed. Same pictures, same result.

    Returns:
        A network whose convolutions are exact in bfloat16, biases included.
    """
    batches = [picture[None] for picture in pictures]
    result = RoundedNetwork(network).eval()
    centre(result, batches)
    round_with_feedback(result, batches)
    match_head(result, network, batches)
    return result


def centre(network: RoundedNetwork, batches: list[Tensor]) -> None:
    """
    Give the linear tensors between blocks mean zero; the next layers' biases take the mean up.

    Exact, because the tensor goes only into 1 x 1 convolutions, which have no padding, and into
    sums with others of its kind. Networks without such blocks (ResNet) stay as they are.
    """
    blocks: list[InvertedResidual | MBConv] = [
        module
        for module in network.features.modules()
        if isinstance(module, InvertedResidual | MBConv)
    ]
    if not blocks:
        return
    means = _output_means(network, blocks, batches)
    before: Tensor | None = None
    for block, mean in zip(blocks, means, strict=True):
        first, last = _convolutions(block)[0], _convolutions(block)[-1]
        if before is not None:
            _bias(first).data += first.weight.data[:, :, 0, 0] @ before
        shift = mean - before if block.use_res_connect and before is not None else mean
        _bias(last).data -= shift
        before = mean
    assert before is not None  # there are blocks
    following = _convolutions(network.features)[-1]
    _bias(following).data += following.weight.data[:, :, 0, 0] @ before


def round_with_feedback(network: RoundedNetwork, batches: list[Tensor]) -> None:
    """Round all convolutions to bfloat16, the first `LAYERS_WITH_FEEDBACK` with error feedback."""
    for index, layer in enumerate(_convolutions(network.features)):
        inputs = layer.weight[0].numel() + 1
        rows = torch.cat([layer.weight.data.flatten(1), _bias(layer).data[:, None]], 1)
        if index < LAYERS_WITH_FEEDBACK and inputs <= MAX_INPUTS_WITH_FEEDBACK:
            rows = _round_rows(rows.double(), _gram(network, layer, batches))
        rows = _to_bfloat16(rows)
        layer.weight.data = rows[:, :-1].reshape(layer.weight.shape).contiguous()
        _bias(layer).data = rows[:, -1].contiguous()


def match_head(network: RoundedNetwork, reference: ImageNetwork, batches: list[Tensor]) -> None:
    """Move the head's biases by the mean difference of the logits."""
    differences = [reference.logits(batch) - network.logits(batch) for batch in batches]
    network.head.bias.data += torch.cat(differences).mean(0)


def _round_rows(rows: Tensor, gram: Tensor) -> Tensor:
    """
    Round each output's weights, the coarsest first, and correct the others for the error.

    Args:
        rows: float64, (outputs, inputs); the last input is the constant 1 of the bias.
        gram: float64, (inputs, inputs), or (outputs, inputs, inputs) where each output has inputs
            of its own; mean of the products of two inputs.

    Returns:
        float64, (outputs, inputs), exact in bfloat16.
    """
    inputs = rows.shape[1]
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    damping = DAMPING * diagonal.mean(-1, keepdim=True).expand_as(diagonal)
    inverse = torch.linalg.inv(gram + torch.diag_embed(damping))
    inverse = inverse.expand(len(rows), inputs, inputs).clone()
    # Bfloat16's steps grow with the number: the small ones can take up the large ones' errors.
    order = rows.abs().argsort(dim=1, descending=True)
    rows, every = rows.clone(), torch.arange(len(rows))
    done = torch.zeros_like(rows, dtype=torch.bool)
    for step in range(inputs):
        column = order[:, step]
        done[every, column] = True
        exact = rows[every, column]
        nearest = _to_bfloat16(exact.float()).double()
        column_of_inverse = inverse[every, :, column]
        pivot = column_of_inverse[every, column]
        correction = ((exact - nearest) / pivot)[:, None] * column_of_inverse
        rows -= torch.where(done, 0.0, correction)
        rows[every, column] = nearest
        inverse -= (
            column_of_inverse[:, :, None]
            * column_of_inverse[:, None, :]
            / pivot[:, None, None]
        )  # fmt: skip
    return rows


def _gram(network: RoundedNetwork, layer: nn.Conv2d, batches: list[Tensor]) -> Tensor:
    """Return the mean products of a convolution's inputs, the bias' constant 1 as the last one."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    total: Tensor | None = None
    for batch in batches:
        seen.clear()
        network(batch)
        patches = functional.unfold(
            seen[0],
            layer.kernel_size,
            padding=layer.padding,  # type: ignore[arg-type]  # torchvision gives numbers
            stride=layer.stride,
        )
        if layer.groups > 1:  # depthwise: each output sees one channel
            patches = patches.reshape(layer.groups, -1, patches.shape[-1])
        ones = torch.ones(patches.shape[0], 1, patches.shape[-1])
        columns = torch.cat([patches, ones], 1)
        products = (columns @ columns.transpose(1, 2)).double() / columns.shape[-1]
        total = products if total is None else total + products
    hook.remove()
    assert total is not None
    mean = total / len(batches)
    return mean if layer.groups > 1 else mean[0]


def _output_means(
    network: RoundedNetwork, blocks: list[nn.Module], batches: list[Tensor]
) -> list[Tensor]:
    sums: dict[nn.Module, Tensor] = {}

    def add(module: nn.Module, _inputs: object, output: Tensor) -> None:
        sums[module] = sums.get(module, torch.zeros(output.shape[1])) + output.mean((0, 2, 3))

    hooks = [block.register_forward_hook(add) for block in blocks]
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    return [sums[block] / len(batches) for block in blocks]


def _fold_batch_norms(module: nn.Module) -> None:
    children = list(module.named_children())
    for _, child in children:
        _fold_batch_norms(child)
    for (name, child), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, norm))
            setattr(module, norm_name, nn.Identity())


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None  # folding gives every convolution one
    return layer.bias


def _to_bfloat16(values: Tensor) -> Tensor:
    return values.bfloat16().float()
