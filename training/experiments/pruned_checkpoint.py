"""
A narrower checkpoint of a trained one: how many channels stay, on which images they are fitted.

The work of `training.prune`, read downward; the fit itself is in `training.networks.pruning`.
"""

from __future__ import annotations

import argparse
from typing import Final

import numpy as np
from iqa.imaging.preprocessing import MIN_SIDE_PX, with_area
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from iqa.network.pruned_mobilenet import PRUNABLE, hidden_channels_of
from iqa.tasks.task_table import task_of
from numpy.typing import NDArray
from tqdm import tqdm

from training.compute.device import choose_device
from training.data import ratings
from training.data.config import data_config
from training.data.images import read_pixels
from training.data.ratings import Split
from training.measure.metrics import agreement
from training.measure.predict import predict, torch_predictor
from training.networks.pruning import prune

MULTIPLE: Final = 8
"""Of channels: a vector register holds eight numbers."""
VALIDATION_IMAGES: Final = 300


def write_pruned(arguments: argparse.Namespace) -> None:
    """
    Write a narrower checkpoint, and print what is lost and how to train it.

    Args:
        arguments: Of `training.prune`.

    Raises:
        ValueError: The network cannot be pruned, or an option is refused.
    """
    network, card = checkpoint.load(arguments.checkpoint)
    if not isinstance(network, ImageNetwork) or network.backbone not in PRUNABLE:
        raise ValueError(
            f"--checkpoint: expected a network of {', '.join(PRUNABLE)}, got "
            f"{network.backbone}. The blocks of no other are known."
        )
    hidden = _hidden_channels(network, arguments)
    policy = checkpoint.policy_of(card)
    if arguments.area_px is not None:
        if arguments.area_px < MIN_SIDE_PX**2:
            raise ValueError(
                f"--area-px: expected at least {MIN_SIDE_PX**2}, got {arguments.area_px}."
            )
        policy = with_area(arguments.area_px)
    data = ratings.load(data_config(arguments))
    train, val = (data.split(name).seen_by(policy) for name in ("train", "val"))
    rng = np.random.default_rng(arguments.seed)
    pixels = _of_one_size(train, rng.permutation(len(train)), arguments.images)
    pruned = prune(network, pixels, hidden, arguments.seed)
    for block, (n, error) in enumerate(zip(hidden, pruned.errors, strict=True), start=1):
        print(f"block {block:2}: {n:4} hidden channels, {100 * error:5.1f} % of what it adds")
    checkpoint.save(
        arguments.out, pruned.network, {"data": {"dataset": data.name}}, task_of(card), policy
    )
    _compare(network, pruned.network, val)
    print(
        f"written: {arguments.out}\nTrain it: python -m training.train --weights "
        f"{arguments.out / checkpoint.WEIGHTS_FILE} --keep-head --teacher "
        f"{arguments.checkpoint} --area-px {policy.area_px} --dataset {arguments.dataset} ..."
    )


def _hidden_channels(network: ImageNetwork, arguments: argparse.Namespace) -> tuple[int, ...]:
    if arguments.hidden_channels is not None:
        return tuple(arguments.hidden_channels)
    if not 0 < arguments.keep <= 1:
        raise ValueError(f"--keep: expected a share above 0, at most 1, got {arguments.keep:g}.")
    return tuple(
        max(1, round(n * arguments.keep / MULTIPLE)) * MULTIPLE
        for n in hidden_channels_of(network.features)
    )


def _of_one_size(split: Split, order: NDArray[np.intp], images: int) -> NDArray[np.uint8]:
    """
    Return images of the size that most of the first ones have.

    Raises:
        ValueError: None is asked for.
    """
    if images < 1:
        raise ValueError(f"--images: expected at least 1, got {images}.")
    by_size: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
    for index in tqdm(order[:images], desc="read", unit="image"):
        pixels = read_pixels(split, int(index))
        by_size.setdefault(pixels.shape, []).append(pixels)
    return np.stack(max(by_size.values(), key=len))


def _compare(whole: ImageNetwork, narrow: ImageNetwork, val: Split) -> None:
    """Print the agreement of both with some of the validation images."""
    chosen = val.part(lambda numbers: numbers[:VALIDATION_IMAGES])
    device = choose_device("auto")
    for name, network in (("whole", whole), ("narrow", narrow)):
        quality = predict(torch_predictor(network.to(device), device), chosen, title=name)
        found = agreement(quality, chosen.target)
        print(f"{name:6}: SROCC {found['srocc']:.4f}, RMSE_100 {found['rmse_100']:.2f} on "
              f"{len(chosen)} validation images")  # fmt: skip
