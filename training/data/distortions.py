"""
Graded distortions of a picture: ten kinds at five levels, in Pillow and numpy.

For synthetic data and for tests. Every kind is monotone: a higher level is further from the
original, in tests/unit/test_distortions.py by mean squared error on photographs.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

LEVELS: Final = (1, 2, 3, 4, 5)

Distortion = Callable[[Image.Image, int, np.random.Generator], Image.Image]
"""Takes an RGB picture, a level (1 faint to 5 heavy) and what is random about it; returns RGB of
the same size, leaves its argument alone."""

# Strength by level. Between the levels of KADID-10k as ARNIQA lists them (utils/utils_data.py)
# and what shows in a picture of 512 x 384: level 1 is just visible, level 5 is not usable.
BLUR_SIGMA_PX: Final = (0.7, 1.3, 2.0, 3.2, 5.0)
MOTION_LENGTH_PX: Final = (3, 6, 10, 16, 25)
NOISE_SIGMA: Final = (6.0, 11.0, 18.0, 28.0, 42.0)  # of 255
IMPULSE_SHARE: Final = (0.002, 0.006, 0.015, 0.035, 0.08)
JPEG_QUALITY: Final = (40, 24, 14, 8, 4)
WEBP_QUALITY: Final = (40, 22, 11, 4, 0)
RESCALE_FACTOR: Final = (1.5, 2.0, 3.0, 5.0, 8.0)
GAMMA: Final = (1.3, 1.6, 2.1, 2.8, 4.0)
TONES: Final = (24, 14, 9, 6, 4)


def gaussian_blur(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Blur as a lens out of focus does."""
    return image.filter(ImageFilter.GaussianBlur(_strength(BLUR_SIGMA_PX, level)))


def motion_blur(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Blur along a line in a random direction, as a moving camera does."""
    length_px = _strength(MOTION_LENGTH_PX, level)
    angle = rng.uniform(0, math.pi)
    samples = int(length_px) + 1
    margin_px = int(length_px)
    pad = [(margin_px, margin_px), (margin_px, margin_px), (0, 0)]
    wide = np.pad(np.asarray(image), pad, mode="edge").astype(np.float32)
    height, width = image.height, image.width
    total = np.zeros((height, width, 3), np.float32)
    for offset in np.linspace(-length_px / 2, length_px / 2, samples):
        left = margin_px + round(float(offset) * math.cos(angle))
        top = margin_px + round(float(offset) * math.sin(angle))
        total += wide[top : top + height, left : left + width]
    return _image(total / samples)


def white_noise(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Add normal noise, independent in each pixel and channel."""
    pixels = np.asarray(image).astype(np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    return _image(pixels + _strength(NOISE_SIGMA, level) * noise)


def impulse_noise(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Set random pixels to black or white."""
    pixels = np.array(image)
    draw = rng.random(pixels.shape[:2])
    share = _strength(IMPULSE_SHARE, level)
    pixels[draw < share / 2] = 0
    pixels[draw > 1 - share / 2] = 255
    return Image.fromarray(pixels)


def jpeg(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Compress with JPEG and decode again."""
    return _through_file(image, "JPEG", int(_strength(JPEG_QUALITY, level)))


def webp(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Compress with WebP and decode again."""
    return _through_file(image, "WEBP", int(_strength(WEBP_QUALITY, level)))


def rescale(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Scale down and up again, as a thumbnail shown large."""
    factor = _strength(RESCALE_FACTOR, level)
    small = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    shrunk = image.resize(small, Image.Resampling.BILINEAR)
    return shrunk.resize(image.size, Image.Resampling.BILINEAR)


def brighten(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Lift the tones with a gamma curve; black and white stay."""
    return _with_gamma(image, 1 / _strength(GAMMA, level))


def darken(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Lower the tones with a gamma curve; black and white stay."""
    return _with_gamma(image, _strength(GAMMA, level))


def posterise(image: Image.Image, level: int, rng: np.random.Generator) -> Image.Image:
    """Keep few tones in each channel, evenly spaced from black to white."""
    steps = _strength(TONES, level) - 1
    table = np.round(np.round(np.arange(256) / 255 * steps) / steps * 255)
    return _through_table(image, table)


DISTORTIONS: Final[dict[str, Distortion]] = {
    "gaussian_blur": gaussian_blur,
    "motion_blur": motion_blur,
    "white_noise": white_noise,
    "impulse_noise": impulse_noise,
    "jpeg": jpeg,
    "webp": webp,
    "rescale": rescale,
    "brighten": brighten,
    "darken": darken,
    "posterise": posterise,
}
"""Distortion by its name."""


def _strength(strengths: tuple[float, ...], level: int) -> float:
    if level not in LEVELS:
        raise ValueError(f"level: expected one of {', '.join(map(str, LEVELS))}, got {level}.")
    return strengths[level - 1]


def _image(pixels: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _through_file(image: Image.Image, format_name: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format_name, quality=quality)
    return Image.open(file, formats=[format_name]).convert("RGB")


def _with_gamma(image: Image.Image, gamma: float) -> Image.Image:
    return _through_table(image, np.round(255 * (np.arange(256) / 255) ** gamma))


def _through_table(image: Image.Image, table: NDArray[np.float64]) -> Image.Image:
    return image.point([int(value) for value in table] * 3)
