"""
Training images that are seen whole, at the size that the network gets, and augmented by name.

For tasks in which a part of an image is not the image. An augmentation is torchvision's own; each
is off unless it is named, because it depends on the data whether it changes the label: a shirt that
is mirrored is a shirt, a letter is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from tqdm import tqdm

from training.data.images import read_pixels
from training.data.ratings import Split

SHIFT: Final = 0.08
"""Share of the side by which `shift` moves an image at most: two pixels of 28."""
MAX_BYTES_IN_MEMORY: Final = 2**29

_MADE_BY: Final[dict[str, Callable[[], v2.Transform]]] = {
    "flip": lambda: v2.RandomHorizontalFlip(),
    "shift": lambda: _Shift(),
    "rotation": lambda: v2.RandomRotation(10),
    "affine": lambda: v2.RandomAffine(10, translate=(SHIFT, SHIFT), scale=(0.9, 1.1), shear=5),
    "crop": lambda: _RandomCrop(),
    "colour": lambda: v2.ColorJitter(0.3, 0.3, 0.3, 0.05),
    "erase": lambda: v2.RandomErasing(0.25, scale=(0.02, 0.2)),
    "randaugment": lambda: v2.RandAugment(),
}
"""Each of `AUGMENTATIONS` with the strength that is usual for photographs."""


class _Shift(v2.Transform):  # type: ignore[misc]  # torchvision ships no types
    """Torchvision's random crop of an image whose edges are continued: whole pixels."""

    def forward(self, image: Tensor) -> Tensor:
        """Move one image, (C, H, W)."""
        height, width = image.shape[-2:]
        padding = [round(SHIFT * width), round(SHIFT * height)]
        moved: Tensor = v2.RandomCrop((height, width), padding, padding_mode="edge")(image)
        return moved


class _RandomCrop(v2.Transform):  # type: ignore[misc]
    """Torchvision's random resized crop, back to the image's own size."""

    def forward(self, image: Tensor) -> Tensor:
        """Crop one image, (C, H, W)."""
        height, width = image.shape[-2:]
        cropped: Tensor = v2.RandomResizedCrop((height, width), scale=(0.6, 1.0))(image)
        return cropped


class WholeTrainingImages(Dataset[tuple[Tensor, Tensor]]):
    """
    Images of a split, the same for the same seed, epoch and image, whichever process asks.

    Items are (pixels, target): uint8 (H, W, C), and a float32 scalar.

    Args:
        split: All of one size.
        augment: Names of `training.data.augmentations`, in the order in which they are applied.
        seed: Of the augmentations.
    """

    def __init__(self, split: Split, augment: Sequence[str], seed: int) -> None:
        self._split, self._seed = split, seed
        self._steps = [_MADE_BY[name]() for name in augment]
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read and augment one image."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Read and augment a batch; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            return [self._one(index) for index in indices]

    def _one(self, index: int) -> tuple[Tensor, Tensor]:
        image_CHW = torch.from_numpy(np.array(read_pixels(self._split, index))).permute(2, 0, 1)
        if self._steps:
            torch.default_generator.manual_seed(hash((self._seed, self.epoch, index)) & 0x7FFFFFFF)
        for step in self._steps:
            image_CHW = step(image_CHW)
        target = torch.tensor(self._split.target[index], dtype=torch.float32)
        return image_CHW.permute(1, 2, 0).contiguous(), target


def kept_in_memory(split: Split, title: str) -> Split:
    """
    Decode all images once and keep them, where they are of one size and take little memory.

    Args:
        split: Of images; returned as it is where they are many or large.
        title: Of the progress bar.
    """
    policy = split.policy
    n_bytes = len(split) * policy.area_px * policy.n_channels
    if not policy.is_one_size or n_bytes > MAX_BYTES_IN_MEMORY or split.pixels is not None:
        return split
    shape = (len(split), policy.height_px, policy.width_px, policy.n_channels)
    pixels = np.empty(shape, np.uint8)
    for index in tqdm(range(len(split)), desc=f"decoding {title}", unit="image", leave=False):
        pixels[index] = read_pixels(split, index)
    return replace(split, pixels=pixels)
