"""
Fewer hidden channels in MobileNetV2's blocks, chosen and made up for by least squares.

Block by block, from the input on: of the hidden channels those go whose loss the others make up for
best, and the layer that reads them is fitted anew, so that the block gives what the whole network's
block gave, also of inputs that earlier blocks have already changed. No gradient is taken: the fit
has a closed form. Source: He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural
Networks", ICCV 2017, section 3.2; channels are dropped one by one instead of by LASSO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from iqa.network.model import ImageNetwork, three_channels
from iqa.network.pruned_mobilenet import blocks_of
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from tqdm import tqdm

PLACES: Final = 48
"""Of each image, in each block, at random: neighbours say nearly the same."""
BATCH_SIZE: Final = 8
# Of the mean square of a channel: keeps the system solvable where channels are alike.
RIDGE: Final = 1e-4

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """
    A narrower network, and how well its blocks do what they did.

    Attributes:
        network: In evaluation mode.
        errors: Of each block: mean square error over the variance of what the block adds.
    """

    network: ImageNetwork
    errors: list[float]


def prune(
    network: ImageNetwork, pixels: NDArray[np.uint8], hidden_channels: Sequence[int], seed: int = 0
) -> Pruned:
    """
    Return a network with fewer hidden channels.

    Args:
        network: MobileNetV2, trained. Not changed.
        pixels: Images of one size to fit on, uint8 (N, H, W, C); some hundreds are enough.
        hidden_channels: Of each block, see `iqa.network.pruned_mobilenet`.
        seed: Of the places that are looked at.

    Raises:
        ValueError: More channels than there are, or another number of blocks.
    """
    whole = deepcopy(network).eval()
    narrow = ImageNetwork(
        network.backbone, network.dropout.p, network.pooling, network.ends_in, network.n_channels,
        hidden_channels,
    ).eval()  # fmt: skip
    narrow.head.load_state_dict(whole.head.state_dict())
    rng, errors = np.random.default_rng(seed), []
    kept = iter(hidden_channels)
    pruned_blocks = set(map(id, blocks_of(whole.features)))
    parts = list(zip(whole.features.children(), narrow.features.children(), strict=True))
    with torch.inference_mode():
        maps = _in_turn(lambda batch: _standardised(whole, batch), torch.from_numpy(pixels))
        wanted, given = maps, maps
        for before, after in tqdm(parts, desc="prune", unit="part"):
            following = _in_turn(before, wanted)
            if id(before) in pruned_blocks:
                assert isinstance(before, InvertedResidual)
                assert isinstance(after, InvertedResidual)
                places = _places(before, given, following, rng)
                errors.append(_fit(before, after, *places, next(kept)))
            else:
                after.load_state_dict(before.state_dict())
            wanted, given = following, _in_turn(after, given)
    return Pruned(network=narrow, errors=errors)


def least_squares_choice(gram: Float, cross: Float, keep: int) -> NDArray[np.intp]:
    """
    Choose the channels from which the targets are best fitted, by dropping the others one by one.

    To drop channel j costs w_j^2 / (G^-1)_jj, of the fit w on those that are left.

    Args:
        gram: Shape (H + 1, H + 1), means of products of channels; the last one is a constant.
        cross: Shape (H + 1, K), means of products with the targets.
        keep: Channels that stay, of H.

    Returns:
        Their numbers, ascending.
    """
    n = len(gram) - 1
    inverse = np.linalg.inv(gram + RIDGE * np.diag(gram)[:-1].mean() * np.eye(n + 1))
    weights = inverse @ cross
    stays = np.ones(n + 1, bool)
    for _ in range(n - keep):
        cost = (weights**2).sum(axis=1) / np.diag(inverse)
        cost[~stays] = cost[-1] = np.inf
        worst = int(np.argmin(cost))
        stays[worst] = False
        column = inverse[:, worst].copy()
        weights -= np.outer(column / column[worst], weights[worst])
        inverse -= np.outer(column, column) / column[worst]
        inverse[worst, :] = inverse[:, worst] = weights[worst] = 0
        inverse[worst, worst] = 1
    return np.flatnonzero(stays[:-1])


def _fit(
    before: InvertedResidual, after: InvertedResidual, hidden: Float, targets: Float, keep: int
) -> float:
    """Write a block's narrower layers; return the relative error."""
    with_constant = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
    gram = with_constant.T @ with_constant / len(hidden)
    cross = with_constant.T @ targets / len(hidden)
    chosen = least_squares_choice(gram, cross, keep)
    seen = np.append(chosen, hidden.shape[1])
    part = gram[np.ix_(seen, seen)]
    ridge = RIDGE / 10 * np.diag(part).mean() * np.eye(len(seen))
    fitted = np.linalg.solve(part + ridge, cross[seen])
    _copy_channels(before, after, torch.from_numpy(chosen))
    norm_before, norm = before.conv[3], after.conv[3]
    assert isinstance(norm_before, nn.BatchNorm2d) and isinstance(norm, nn.BatchNorm2d)
    norm.load_state_dict(norm_before.state_dict())
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    # The norm behind the layer scales and shifts: the fit is what stands after it.
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    narrowing = after.conv[2]
    assert isinstance(narrowing, nn.Conv2d)
    weight = torch.from_numpy(fitted[:-1].T).float() / scale[:, None]
    narrowing.weight.copy_(weight[:, :, None, None])
    norm.bias.copy_(torch.from_numpy(fitted[-1]).float() + mean * scale)
    left = np.mean((with_constant[:, seen] @ fitted - targets) ** 2)
    return float(left / targets.var(axis=0).mean())


def _copy_channels(before: InvertedResidual, after: InvertedResidual, chosen: Tensor) -> None:
    """Copy the chosen channels of the two layers that make them, with their norms."""
    for place in (0, 1):
        state = before.conv[place].state_dict()
        after.conv[place].load_state_dict(
            {name: t[chosen] if t.dim() else t for name, t in state.items()}
        )


def _places(
    block: InvertedResidual, inputs: Tensor, outputs: Tensor, rng: np.random.Generator
) -> tuple[Float, Float]:
    """Return hidden channels, and what is to be made of them, at some places of each image."""
    widen = nn.Sequential(block.conv[0], block.conv[1])
    hidden, targets = [], []
    for given, wanted in zip(
        torch.split(inputs, BATCH_SIZE), torch.split(outputs, BATCH_SIZE), strict=True
    ):
        maps = widen(given)
        to_make = wanted - given if block.use_res_connect else wanted
        n_places = maps.shape[2] * maps.shape[3]
        for one, made in zip(maps, to_make, strict=True):
            chosen = torch.from_numpy(rng.choice(n_places, min(PLACES, n_places), replace=False))
            hidden.append(one.flatten(1)[:, chosen].T)
            targets.append(made.flatten(1)[:, chosen].T)
    return torch.cat(hidden).double().numpy(), torch.cat(targets).double().numpy()


def _standardised(network: ImageNetwork, pixels_NHWC: Tensor) -> Tensor:
    planes = three_channels(pixels_NHWC, network.n_channels)
    return ((planes - network.mean) / network.std).contiguous(memory_format=torch.channels_last)


def _in_turn(part: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a part of the network in batches: a whole set at once needs too much memory."""
    outputs = [part(batch) for batch in torch.split(images, BATCH_SIZE)]
    return torch.cat(outputs).contiguous(memory_format=torch.channels_last)
