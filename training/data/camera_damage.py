"""
Damage as cameras and messengers do it, of any strength, to learn the causes of a low score from.

Defocus by a disk, shake along a random walk, noise of a Bayer sensor, JPEG and WebP in chains with
resizing, exposure in linear light. Strengths run from 0 (none) to 5 and meet those of
`training.data.distortions` at its levels. Its kinds are the causes' test; gamma curves, JPEG and
WebP are in both, all else is made in another way here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, signal

from training.data.distortions import (
    BLUR_SIGMA_PX,
    GAMMA,
    IMPULSE_SHARE,
    JPEG_QUALITY,
    MOTION_LENGTH_PX,
    NOISE_SIGMA,
    RESCALE_FACTOR,
    WEBP_QUALITY,
)

MAX_STRENGTH: Final = 5.0
Float = NDArray[np.float32]
Damage = Callable[[Image.Image, float, np.random.Generator], Image.Image]
"""Takes RGB, a strength in [0, 5] and what is random about it; returns RGB of the same size."""

FILTERS: Final = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)
# Mid-grey in linear light, and the slope of the sRGB curve there: noise is told as it looks.
MID_GREY: Final = 0.18
SLOPE_AT_MID_GREY: Final = 1.195
# The white balance lifts red and blue, interpolating averages: together noise of the level remains.
BEFORE_DEMOSAICING: Final = 0.85
UNDER_EV: Final = (0.6, 1.25, 2.2, 3.4, 5.0)
"""Stops by which mid-grey falls as far as with `training.data.distortions.darken`."""
OVER_EV: Final = (0.5, 0.9, 1.4, 2.0, 3.0)
CONTRAST: Final = (0.75, 0.55, 0.4, 0.28, 0.18)
CAST: Final = (0.12, 0.24, 0.38, 0.55, 0.8)


def defocus(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Blur with a disk, as an aperture does."""
    radius_px = 2 * _between(BLUR_SIGMA_PX, strength)  # a disk's deviation is half its radius
    size = int(np.ceil(radius_px)) + 1
    rows, columns = np.mgrid[-size : size + 1, -size : size + 1]
    disk = np.clip(radius_px + 0.5 - np.hypot(rows, columns), 0, 1)
    return _convolved(image, disk)


def shake(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Blur along a random walk with momentum, as a hand that holds a camera does."""
    length_px = _between(MOTION_LENGTH_PX, strength)
    turning = 0.3 * rng.random() ** 2  # most shakes are nearly straight
    steps = np.cumsum(rng.normal(0, turning, 64)) + rng.uniform(0, 2 * np.pi)
    path = np.cumsum(np.exp(1j * steps)) * rng.uniform(0.6, 1.4, 64)
    points = np.stack([path.real, path.imag])
    points = (points - points.mean(axis=1, keepdims=True)) * length_px / max(np.ptp(points), 1e-6)
    size = int(np.ceil(np.abs(points).max())) + 1
    kernel = np.zeros((2 * size + 1, 2 * size + 1))
    np.add.at(kernel, tuple(np.round(points[::-1] + size).astype(int)), 1.0)
    return _convolved(image, ndimage.gaussian_filter(kernel, 0.4))


def resampled(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Scale down and up again with a random pair of filters."""
    factor = _between(RESCALE_FACTOR, strength, none=1.0)
    small = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    down, up = (FILTERS[rng.integers(len(FILTERS))] for _ in range(2))
    return image.resize(small, down).resize(image.size, up)


def sensor_noise(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """
    Add what a Bayer sensor adds: shot noise that grows with the light, and read noise.

    The noise is made on the mosaic, with variance a x + b in linear light (Foi et al. 2008, IEEE
    TIP 17(10)), interpolated bilinearly as the picture would be, and added to it.
    """
    linear = _linear(np.asarray(image))
    sigma = BEFORE_DEMOSAICING * _between(NOISE_SIGMA, strength) / 255 / SLOPE_AT_MID_GREY
    shot = rng.uniform(0.3, 0.95)
    variance = sigma**2 * (shot * linear / MID_GREY + 1 - shot)
    noise = np.sqrt(variance) * rng.standard_normal(linear.shape, dtype=np.float32)
    balance = np.array([rng.uniform(1.0, 2.0), 1.0, rng.uniform(1.0, 2.2)], np.float32)
    noise *= balance / balance.mean()
    return _image(_srgb(linear + _demosaiced(noise)))


def grain(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Add grain of luminance, coarser than a pixel, as film and denoised night pictures have it."""
    sigma = _between(NOISE_SIGMA, strength)
    noise = rng.standard_normal((image.height, image.width), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9))
    noise *= sigma / noise.std()
    return _image(np.asarray(image) + noise[..., None])


def hot_pixels(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Set single values, of one channel each, to the ends of the scale."""
    pixels = np.array(image)
    draw = rng.random(pixels.shape)
    share = _between(IMPULSE_SHARE, strength)
    pixels[draw < share / 2] = 0
    pixels[draw > 1 - share / 2] = 255
    return Image.fromarray(pixels)


def jpeg_file(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Save as JPEG with a random chroma subsampling, perhaps cropped off the old block grid."""
    quality = round(_between(JPEG_QUALITY, strength, none=92.0))
    if rng.random() < 0.3:
        image = _saved(image, "JPEG", min(95, 2 * quality), int(rng.integers(3)))
    return _saved(image, "JPEG", quality, int(rng.integers(3)))


def webp_file(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Save as WebP."""
    return _saved(image, "WEBP", round(_between(WEBP_QUALITY, strength, none=92.0)))


def messenger(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Send through two messengers: smaller, JPEG; again smaller or not, JPEG or WebP; enlarged."""
    _check(strength)
    factor = rng.uniform(1.1, 1.8)
    small = (max(16, round(image.width / factor)), max(16, round(image.height / factor)))
    sent = _saved(image.resize(small, FILTERS[rng.integers(3)]), "JPEG", int(rng.integers(70, 90)))
    # Enlarged blocks show more: a level less for the same look.
    last = max(0.0, strength - 0.5)
    send = webp_file if rng.random() < 0.4 else jpeg_file
    return send(sent, last, rng).resize(image.size, FILTERS[rng.integers(2)])


def underexposed(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Take away light, and keep 8 bits of what is left."""
    return _with_gain(image, 2.0 ** -_between(UNDER_EV, strength))


def overexposed(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Add light; highlights clip, with a soft shoulder or without."""
    return _with_gain(image, 2.0 ** _between(OVER_EV, strength))


def darkened(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Lower the tones by a gamma curve, as a wrong curve does; black and white stay."""
    return _with_gamma(image, _between(GAMMA, strength, none=1.0))


def brightened(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Lift the tones by a gamma curve."""
    return _with_gamma(image, 1 / _between(GAMMA, strength, none=1.0))


def low_contrast(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Draw all tones together, as haze or a wrong black level does."""
    kept = _between(CONTRAST, strength, none=1.0)
    towards = rng.uniform(90, 190)
    return _image(towards + kept * (np.asarray(image, dtype=np.float32) - towards))


def colour_cast(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Weigh the channels wrongly, as a wrong white balance does."""
    angle, amount = rng.uniform(0, 2 * np.pi), _between(CAST, strength)
    turns = np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])
    gains = np.exp2(2 * amount * np.cos(angle + turns)).astype(np.float32)
    return _image(_srgb(_linear(np.asarray(image)) * gains / gains.max()))


DAMAGE: Final[dict[str, dict[str, Damage]]] = {
    "dark": {"underexposed": underexposed, "darkened": darkened},
    "bright": {"overexposed": overexposed, "brightened": brightened},
    "contrast": {"low_contrast": low_contrast},
    "colour": {"colour_cast": colour_cast},
    "blur": {"defocus": defocus, "shake": shake, "resampled": resampled},
    "noise": {"sensor_noise": sensor_noise, "grain": grain, "hot_pixels": hot_pixels},
    "compression": {"jpeg_file": jpeg_file, "webp_file": webp_file, "messenger": messenger},
}
"""By cause, in the order in which a picture meets them: light, lens, sensor, file."""


def _check(strength: float) -> None:
    if not 0 <= strength <= MAX_STRENGTH:
        raise ValueError(f"strength: expected 0 to {MAX_STRENGTH:g}, got {strength}.")


def _between(strengths: tuple[float, ...], strength: float, none: float = 0.0) -> float:
    """Return the strength between two levels of a table; `none` is level 0."""
    _check(strength)
    return float(np.interp(strength, range(len(strengths) + 1), (none, *strengths)))


def _image(pixels: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _linear(pixels_HWC: NDArray[np.uint8]) -> Float:
    """Undo sRGB's curve (IEC 61966-2-1): uint8 -> [0, 1]."""
    tone = np.arange(256) / 255
    table = np.where(tone <= 0.04045, tone / 12.92, ((tone + 0.055) / 1.055) ** 2.4)
    linear: Float = table.astype(np.float32)[pixels_HWC]
    return linear


def _srgb(linear: Float) -> Float:
    """Apply sRGB's curve: [0, 1], clipped -> 0-255."""
    clipped = np.clip(linear, 0, 1)
    curved = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return (255 * curved).astype(np.float32)


def _with_gain(image: Image.Image, gain: float) -> Image.Image:
    table = np.round(_srgb(gain * _linear(np.arange(256, dtype=np.uint8)))).astype(int)
    return image.point(table.tolist() * 3)


def _with_gamma(image: Image.Image, gamma: float) -> Image.Image:
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(int)
    return image.point(table.tolist() * 3)


def _demosaiced(values_HWC: Float) -> Float:
    """Keep one channel a pixel, by the pattern RGGB, and interpolate the others bilinearly."""
    result = np.empty_like(values_HWC)
    rows, columns = np.ogrid[: values_HWC.shape[0], : values_HWC.shape[1]]
    places = ((rows % 2 == 0) & (columns % 2 == 0), (rows + columns) % 2 == 1,
              (rows % 2 == 1) & (columns % 2 == 1))  # fmt: skip
    cross = np.array([0.5, 1.0, 0.5], np.float32)
    for channel, place in enumerate(places):
        sites = np.where(place, values_HWC[..., channel], np.float32(0))
        if channel == 1:
            around = ndimage.convolve1d(sites, [1, 0, 1], 0) + ndimage.convolve1d(
                sites, [1, 0, 1], 1
            )
            result[..., channel] = sites + np.where(place, 0, around / 4)
        else:
            result[..., channel] = ndimage.convolve1d(ndimage.convolve1d(sites, cross, 0), cross, 1)
    return result


def _convolved(image: Image.Image, kernel: NDArray[np.floating[Any]]) -> Image.Image:
    size = kernel.shape[0] // 2
    pad = [(size, size), (size, size), (0, 0)]
    wide = np.pad(np.asarray(image, dtype=np.float32), pad, mode="symmetric")
    weights = (kernel / kernel.sum()).astype(np.float32)[..., None]
    return _image(signal.fftconvolve(wide, weights, mode="valid", axes=(0, 1)))


def _saved(
    image: Image.Image, format_name: str, quality: int, subsampling: int | None = None
) -> Image.Image:
    file = io.BytesIO()
    options = {} if subsampling is None else {"subsampling": subsampling}
    image.save(file, format_name, quality=quality, **options)
    return Image.open(file, formats=[format_name]).convert("RGB")
