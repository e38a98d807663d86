"""
Rated pictures as tensors: decoded and preprocessed by `iqa`, exactly as they will be served.

Training sees square crops of the preprocessed picture and mirror images: neither changes the
quality. On request each batch has a smaller scale of its own, and there are damaged copies, which
have no rating. Evaluation sees the whole picture.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from iqa.imaging.decoding import Limits, decode
from iqa.imaging.preprocessing import preprocess, with_area
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from training.compute.parallel import ONE_PROCESS, ProcessGroup
from training.data import damage
from training.data.cache import decoded_once
from training.data.dataset_layouts import ImageFile
from training.data.ratings import Split

# A data set's own pictures are trusted to be large; a client's are not.
NO_LIMITS = Limits(max_bytes=2**31, max_pixels=2**31)
N_SCALES: Final = 5
"""Few, because a network is prepared anew for each size of input."""


class TrainingCrops(Dataset[tuple[Tensor, Tensor]]):
    """
    Random square crops of a split, the same for the same seed, epoch and picture.

    Items are (pixels, target): uint8 (crop, crop, C), and a float32 scalar. Beyond the last picture
    lie the damaged copies, without a target: `copies_of` says where.

    Args:
        split: With ratings.
        crop_px: Side of a crop, at full scale.
        seed: Of the crops, the damage and the scales.
        damage: Name of a set of `training.data.damage.DAMAGE`.
        min_scale: Images asked for together are all seen at one of `N_SCALES` scales from this one
            to 1 of the input's side, and cut as much smaller.
    """

    def __init__(
        self,
        split: Split,
        crop_px: int,
        seed: int,
        damage: str = damage.SIMPLE,
        min_scale: float = 1.0,
    ) -> None:
        self._damage = damage
        self._seed = seed
        scales = sorted({float(scale) for scale in np.linspace(min_scale, 1.0, N_SCALES)})
        self._seen = [(_at_scale(split, scale), round(crop_px * scale)) for scale in scales]
        self._split = split
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Decode one picture; its draw does not depend on which process asks."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Decode a batch, all at one scale."""
        rng = np.random.default_rng((self._seed, self.epoch, indices[0], 2))
        split, crop_px = self._seen[int(rng.integers(len(self._seen)))]
        return [self._item(split, crop_px, index) for index in indices]

    def _item(self, split: Split, crop_px: int, index: int) -> tuple[Tensor, Tensor]:
        if index < len(self):
            rng = np.random.default_rng((self._seed, self.epoch, index))
            pixels = read_pixels(split, index)
            target = torch.tensor(split.target[index], dtype=torch.float32)
        else:
            index, which = divmod(index - len(self), 2)
            rng = np.random.default_rng((self._seed, self.epoch, index, 1))
            pixels = _damaged_copy(split, index, which, rng, self._damage)
            target = torch.tensor(torch.nan)
        pixels = _crop(pixels, crop_px, rng)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(pixels.copy()), target


class WholeImages(Dataset[tuple[int, Tensor]]):
    """Preprocessed pictures of a split: items are (index, uint8 (H, W, C))."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        """Decode and preprocess one picture."""
        return index, torch.from_numpy(read_pixels(self._split, index).copy())


class EpochBatches(Sampler[list[int]]):
    """
    Batches of one epoch in an order fixed by seed and epoch, from any step on.

    A last batch that is not full is left out: batch statistics of few pictures are noise.

    Args:
        n: Number of pictures.
        batch_size: Images in a batch.
        seed: Seed of the order.
        damaged_pairs: So many of a batch's pictures come once more at its end, as two copies each.
        processes: Each gets its share of both.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        damaged_pairs: int = 0,
        processes: ProcessGroup = ONE_PROCESS,
    ) -> None:
        self._n, self._batch_size, self._seed = n, min(batch_size, n), seed
        self._damaged_pairs, self._processes = damaged_pairs, processes
        self.epoch = 0
        self.first_step = 0

    def __len__(self) -> int:
        """Return the number of steps in a whole epoch."""
        return self._n // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch from `first_step` on."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._n)
        for step in range(self.first_step, len(self)):
            start = step * self._batch_size
            batch = order[start : start + self._batch_size].tolist()
            damaged = self._processes.share(batch[: self._damaged_pairs])
            yield [*self._processes.share(batch), *copies_of(damaged, self._n)]


def copies_of(indices: Sequence[int], n: int) -> list[int]:
    """Return where `TrainingCrops` of n pictures keeps the damaged copies: milder, heavier, ..."""
    return [n + 2 * index + which for index in indices for which in (0, 1)]


def read_pixels(split: Split, index: int) -> NDArray[np.uint8]:
    """
    Return one picture as the network's input, uint8 (H, W, 3).

    Raises:
        ValueError: The file cannot be scored; names it.
    """
    if split.pixels is not None:
        return split.pixels[index]
    with _named(split.paths[index]) as path:
        body = path.read_bytes()

        def decoded(body: bytes) -> NDArray[np.uint8]:
            return decode(body, NO_LIMITS, split.policy).pixels()

        if split.cache is None:
            return decoded(body)
        return decoded_once(split.cache, body, decoded, split.policy)


def read_damaged_copy(split: Split, index: int) -> NDArray[np.uint8]:
    """
    Return a damaged copy of one picture as the network's input, always the same one.

    Raises:
        ValueError: The file cannot be scored; names it.
    """
    return _damaged_copy(split, index, 1, np.random.default_rng(index))


def _damaged_copy(
    split: Split, index: int, which: int, rng: np.random.Generator, kinds: str = damage.SIMPLE
) -> NDArray[np.uint8]:
    with _named(split.paths[index]) as path:
        decoded = decode(path.read_bytes(), NO_LIMITS, split.policy)
        copy = damage.damaged_pair(decoded.image, rng, kinds)[which]
        return preprocess(copy, decoded.size, split.policy)


@contextmanager
def _named(path: ImageFile) -> Iterator[ImageFile]:
    """Put the file's name before what is said of it."""
    try:
        yield path
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def same_size_batches(items: list[tuple[int, Tensor]]) -> list[tuple[list[int], Tensor]]:
    """Collate (index, pixels) items into stacks of equally large pictures."""
    groups: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for index, pixels in items:
        groups.setdefault(pixels.shape, []).append((index, pixels))
    return [
        ([index for index, _ in group], torch.stack([pixels for _, pixels in group]))
        for group in groups.values()
    ]


def leave_interrupts_to_parent(worker: int) -> None:
    """Start-up of a decoding process: Ctrl-C reaches the whole group, only training acts on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _at_scale(split: Split, scale: float) -> Split:
    """Return the same images for an input whose sides are scaled."""
    if scale == 1:
        return split
    return split.seen_by(with_area(round(split.policy.area_px * scale**2)))


def _crop(pixels: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if min(height, width) < side:  # panoramas: mirrored edges, because rescaling changes quality
        pad = [(0, max(0, side - height)), (0, max(0, side - width)), (0, 0)]
        pixels = np.pad(pixels, pad, mode="symmetric")
        height, width = pixels.shape[:2]
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    return pixels[top : top + side, left : left + side]
