"""A quality map as a picture: the photograph in grey, tinted where it gains and loses."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from iqa.network.quality_map import QualityMap
from numpy.typing import NDArray
from PIL import Image

# A place that many logits away from the picture's own is tinted in full, in every picture: tints
# can be compared between pictures, and one that is alike everywhere stays grey.
FULL_TINT: Final = 3.0
MAX_OPACITY: Final = 0.75
# Told apart by people who do not see red and green alike (ColorBrewer's RdBu, ends).
LOSS_RGB: Final = (178, 24, 43)
GAIN_RGB: Final = (33, 102, 172)
# Each of the network's five halvings of the size starts at the first pixel, so place 0 is centred
# on pixel 0 and not on the middle of its share.
STRIDE_PX: Final = 32


def overlay(pixels_HWC: NDArray[np.uint8], quality_map: QualityMap) -> Image.Image:
    """
    Tint a picture by its map.

    Args:
        pixels_HWC: uint8, RGB: what the map was made from, at most some 200,000 pixels.
        quality_map: The map of these pixels.

    Returns:
        RGB of the same size: blue where a place lifts the score above the picture's own, red where
        it pulls it down.
    """
    height, width = pixels_HWC.shape[:2]
    relative = quality_map.logits - quality_map.logits.mean()
    tint = spread(relative, width, height)[..., None] / FULL_TINT
    opacity = MAX_OPACITY * np.clip(np.abs(tint), 0, 1)
    colour = np.where(tint < 0, LOSS_RGB, GAIN_RGB)
    grey = np.asarray(Image.fromarray(pixels_HWC).convert("L"), dtype=np.float32)[..., None]
    blended = (1 - opacity) * grey + opacity * colour
    return Image.fromarray(np.round(blended).astype(np.uint8))


def png(pixels_HWC: NDArray[np.uint8], quality_map: QualityMap) -> bytes:
    """Return `overlay` as a PNG file."""
    file = io.BytesIO()
    overlay(pixels_HWC, quality_map).save(file, "PNG")
    return file.getvalue()


def spread(logits: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """
    Enlarge a map to the pixels that it was made from.

    Args:
        logits: Shape (rows, columns).
        width: Width of the pixels.
        height: Height of the pixels.

    Returns:
        float32, shape (height, width), straight between the places.
    """
    padded = np.pad(logits, ((0, 1), (0, 1)), mode="edge").astype(np.float32)
    box = (0.5, 0.5, 0.5 + width / STRIDE_PX, 0.5 + height / STRIDE_PX)
    image = Image.fromarray(padded).resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)
