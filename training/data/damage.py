"""
Two damaged copies of a picture, of which one is certainly the worse: an order without a rating.

People rate photographs as they come, and few come with a compressor's blocks all over them. What
such damage costs is unknown, but not which of two copies has more of it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from training.data.distortions import DISTORTIONS, LEVELS, Distortion

KINDS: Final = ("gaussian_blur", "motion_blur", "white_noise", "jpeg", "webp", "rescale")
"""Distortions of `training.data.distortions` of which more is worse on any photograph."""
SIMPLE: Final = "simple"
CAMERA: Final = "camera"
DAMAGE: Final = (SIMPLE, CAMERA)
"""Names of the sets of what damages; `camera` has light, colour, lens, sensor and file."""


def damaged_pair(
    image: Image.Image, rng: np.random.Generator, damage: str = SIMPLE
) -> tuple[Image.Image, Image.Image]:
    """
    Return a milder and a heavier copy, damaged in the same way.

    Args:
        image: RGB; the milder copy may be itself.
        rng: Draws the kind and two different levels, of which 0 is no damage.
        damage: Name of a set of `DAMAGE`.
    """
    kinds = kinds_of(damage)
    damaged = kinds[int(rng.integers(len(kinds)))]
    milder, heavier = sorted(rng.choice((0, *LEVELS), size=2, replace=False).tolist())
    seed = int(rng.integers(2**32))  # the same noise in both, once faint and once strong

    def copy(level: int) -> Image.Image:
        if level == 0:
            return image
        return damaged(image, level, np.random.default_rng(seed))

    return copy(milder), copy(heavier)


@functools.cache
def kinds_of(damage: str) -> Sequence[Distortion]:
    """Return what damages in the set of a name of `DAMAGE`."""
    if damage == SIMPLE:
        return [DISTORTIONS[kind] for kind in KINDS]
    from training.data import camera_damage  # scipy's filters: the command line does not wait

    return [one for kinds in camera_damage.DAMAGE.values() for one in kinds.values()]
