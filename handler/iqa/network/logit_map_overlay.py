"""A map of logits as a picture: the image in grey, tinted where it gains and loses."""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
from iqa.network.logit_map import LogitMap
from numpy.typing import NDArray
from PIL import Image

# A place that many logits away from the picture's own is tinted in full, in every picture: tints
# of a score can be compared between pictures, and one that is alike everywhere stays grey.
FULL_TINT: Final = 3.0
MAX_OPACITY: Final = 0.75
# Told apart by people who do not see red and green alike (ColorBrewer's RdBu, ends).
LOSS_RGB: Final = (178, 24, 43)
GAIN_RGB: Final = (33, 102, 172)
SHOWN_PX: Final = 224
"""A network's input that is smaller is shown enlarged, by a whole number."""


def overlay(pixels_HWC: NDArray[np.uint8], found: LogitMap) -> Image.Image:
    """
    Tint a picture by its map.

    Args:
        pixels_HWC: uint8, RGB or grey: what the map was made from, at most some 200,000 pixels.
        found: The map of these pixels.

    Returns:
        RGB of the same size, or a multiple of it where neither side has `SHOWN_PX`: blue where a
        place lifts the output above the picture's own, red where it pulls it down. A class is
        tinted in full where it is furthest from the mean, at `FULL_TINT` or more.
    """
    height, width = pixels_HWC.shape[:2]
    factor = max(1, SHOWN_PX // max(height, width))
    size = (factor * width, factor * height)
    relative = found.logits - found.logits.mean()
    # The logits of classes reach as far as the training drove them, which tells nothing.
    full = FULL_TINT if found.outputs.ndim == 0 else max(FULL_TINT, np.abs(relative).max())
    tint = spread(relative, width, height, factor)[..., None] / full
    opacity = MAX_OPACITY * np.clip(np.abs(tint), 0, 1)
    colour = np.where(tint < 0, LOSS_RGB, GAIN_RGB)
    image = Image.fromarray(pixels_HWC.squeeze(2) if pixels_HWC.shape[2] == 1 else pixels_HWC)
    grey = np.asarray(
        image.convert("L").resize(size, Image.Resampling.NEAREST), dtype=np.float32
    )[..., None]  # fmt: skip
    blended = (1 - opacity) * grey + opacity * colour
    return Image.fromarray(np.round(blended).astype(np.uint8))


def png(pixels_HWC: NDArray[np.uint8], found: LogitMap) -> bytes:
    """Return `overlay` as a PNG file."""
    file = io.BytesIO()
    overlay(pixels_HWC, found).save(file, "PNG")
    return file.getvalue()


def spread(
    logits: NDArray[np.float64], width: int, height: int, factor: int = 1
) -> NDArray[np.float32]:
    """
    Enlarge a map to the pixels that it was made from, or to a multiple of them.

    A halving of the sides by strides starts at the first pixel, so place 0 is centred on pixel 0
    and not on the middle of its share. (`cnn4` takes the maximum of 2 x 2: its map is drawn half a
    share too far to the top left.)

    Args:
        logits: Shape (rows, columns).
        width: Width of the pixels.
        height: Height of the pixels.
        factor: How many times as large the result is.

    Returns:
        float32, shape (factor * height, factor * width), straight between the places.
    """
    rows, columns = logits.shape
    padded = np.pad(logits, ((0, 1), (0, 1)), mode="edge").astype(np.float32)
    box = (
        0.5, 0.5, 0.5 + width / share_px(width, columns), 0.5 + height / share_px(height, rows)
    )  # fmt: skip
    size = (factor * width, factor * height)
    image = Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)


def share_px(side_px: int, n_places: int) -> float:
    """
    Return how many pixels lie between two places of a map: a power of two, where one fits.

    Args:
        side_px: Width or height of the pixels.
        n_places: Columns or rows of the map.
    """
    share = 2 ** math.ceil(math.log2(side_px / n_places))
    return float(share) if -(-side_px // share) == n_places else side_px / n_places
