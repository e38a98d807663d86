"""
The pictures of the synthetic data set: which photograph, distorted how, in which split.

For `training.demo_data`, which rates them.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from training.data.distortions import DISTORTIONS, LEVELS
from training.data.pseudo_mos import similarity

SIZE_PX: Final = (512, 384)
FILE_QUALITY: Final = 95
PRISTINE: Final = "pristine"

# What the generators of one seed are for.
_PLAN, _PICTURE = 0, 1

# All at least 512 x 384, so that none is softened by scaling up.
PHOTOGRAPHS: Final[dict[str, tuple[str, str]]] = {
    "astronaut": ("skimage.data", "astronaut.png"),
    "brick": ("skimage.data", "brick.png"),
    "camera": ("skimage.data", "camera.png"),
    "china": ("sklearn.datasets.images", "china.jpg"),
    "coffee": ("skimage.data", "coffee.png"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
    "gravel": ("skimage.data", "gravel.png"),
    "hubble": ("skimage.data", "hubble_deep_field.jpg"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
}
"""Scene -> the package and the file in it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One picture to be made."""

    index: int
    scene: str
    kind: str
    level: int
    split: str

    @property
    def name(self) -> str:
        """Name of the file; says what was done to the picture."""
        grade = "" if self.kind == PRISTINE else f"-{self.level}"
        return f"synthetic-{self.index:05d}-{self.scene}-{self.kind}{grade}.jpg"


def plan(pictures: int, seed: int) -> list[Plan]:
    """
    Choose what is made of which photograph, and its split.

    Kinds take turns; within a kind, seven of ten pictures in a row are for training, one for
    validation, two for test. Each kind starts elsewhere in that row of ten, so that also the
    smallest set has pictures in each split. Levels and scenes come in shuffled rounds.
    """
    rng = np.random.default_rng((seed, _PLAN))
    kinds = [*DISTORTIONS, PRISTINE]
    scenes = _rounds(len(PHOTOGRAPHS), pictures, rng)
    levels = [_rounds(len(LEVELS), pictures // len(kinds) + 1, rng) for _ in kinds]
    plans = []
    for index in range(pictures):
        turn, number = divmod(index, len(kinds))
        place = (turn + 3 * number) % 10
        plans.append(
            Plan(
                index=index,
                scene=list(PHOTOGRAPHS)[scenes[index]],
                kind=kinds[number],
                level=LEVELS[levels[number][turn]],
                split={0: "validation", 3: "test", 6: "test"}.get(place, "training"),
            )
        )
    return plans


def make_pictures(
    directory: Path, plans: list[Plan], seed: int
) -> list[tuple[float, float, float]]:
    """
    Write every picture as a JPEG.

    Args:
        directory: Where; must exist.
        plans: What.
        seed: Same seed, same bytes.

    Returns:
        `similarity` of each file to its undistorted crop, in the order of the plans.
    """
    photographs = {scene: _photograph(scene) for scene in PHOTOGRAPHS}

    def make_one(item: Plan) -> tuple[float, float, float]:
        return _make_picture(directory, item, photographs[item.scene], seed)

    threads = torch.get_num_threads()
    # One thread a picture, so that sums do not depend on the number of cores.
    pool = ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        made = pool.map(make_one, plans)
        return list(tqdm(made, total=len(plans), desc="synthetic pictures", unit="picture"))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _rounds(items: int, n: int, rng: np.random.Generator) -> list[int]:
    """Return n numbers below `items`: each once in a random order, then again in another."""
    order: list[int] = []
    while len(order) < n:
        order.extend(rng.permutation(items).tolist())
    return order[:n]


def _make_picture(
    directory: Path, item: Plan, photograph: Image.Image, seed: int
) -> tuple[float, float, float]:
    rng = np.random.default_rng((seed, _PICTURE, item.index))
    original = _crop(photograph, rng)
    picture = original
    if item.kind != PRISTINE:
        picture = DISTORTIONS[item.kind](original, item.level, rng)
    path = directory / item.name
    picture.save(path, "JPEG", quality=FILE_QUALITY)
    with Image.open(path) as saved:  # the file is what gets rated
        return similarity(saved.convert("RGB"), original)


def _photograph(scene: str) -> Image.Image:
    package, name = PHOTOGRAPHS[scene]
    with (files(package) / name).open("rb") as file:
        return Image.open(file).convert("RGB")


def _crop(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a random part of a photograph, perhaps mirrored, scaled down to `SIZE_PX`."""
    width, height = SIZE_PX
    largest = min(photograph.width / width, photograph.height / height)
    scale = rng.uniform(1.0, largest)
    left = rng.uniform(0, photograph.width - scale * width)
    top = rng.uniform(0, photograph.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    part = photograph.resize(SIZE_PX, Image.Resampling.LANCZOS, box=box)
    return ImageOps.mirror(part) if rng.random() < 0.5 else part
