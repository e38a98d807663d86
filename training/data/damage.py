"""
Two damaged copies of a picture, of which one is certainly the worse: an order without a rating.

People rate photographs as they come, and few come with a compressor's blocks all over them. What
such damage costs is unknown, but not which of two copies has more of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from training.data.distortions import DISTORTIONS, LEVELS

KINDS: Final = ("gaussian_blur", "motion_blur", "white_noise", "jpeg", "webp", "rescale")
"""Distortions of `training.data.distortions` of which more is worse on any photograph."""


def damaged_pair(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """
    Return a milder and a heavier copy, damaged in the same way.

    Args:
        image: RGB; the milder copy may be itself.
        rng: Draws the kind and two different levels, of which 0 is no damage.
    """
    kind = KINDS[rng.integers(len(KINDS))]
    milder, heavier = sorted(rng.choice((0, *LEVELS), size=2, replace=False).tolist())
    seed = int(rng.integers(2**32))  # the same noise in both, once faint and once strong

    def copy(level: int) -> Image.Image:
        if level == 0:
            return image
        return DISTORTIONS[kind](image, level, np.random.default_rng(seed))

    return copy(milder), copy(heavier)
