"""
RGB image -> network input: the only definition, for training, evaluation and serving.

Every picture is resampled to the same area, 512 x 384 pixels (KonIQ-10k's size), with its own
aspect ratio kept: no squeezing, and no more than a sliver is cropped. Why, and what the
alternatives cost: docs/decisions/0003-one-area-any-aspect-ratio.md.

Normalisation is not here: it is the first layer of the network (`iqa.network.model`), and so part
of the exported graph.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from iqa.errors import ImageRejected
from numpy.typing import NDArray
from PIL import Image

AREA_PX: Final = 512 * 384
# Sides are rounded up to multiples of this: few distinct shapes for the runtime to compile, at
# most 15 pixels cropped from the resampled picture. 512 x 384 stays 512 x 384.
SIDE_MULTIPLE_PX: Final = 16
# Same rank correlation as bicubic, half its cost, and less of the upward bias that
# down-scaling brings (mean quality .625 against .643 at a mean MOS of .62, BIQ2021).
RESAMPLE: Final = Image.Resampling.BILINEAR

# A decoder may deliver a reduced picture whose sides are this many times the input's, or more.
# On 14 camera photographs of 1 to 12 megapixels the score moves by 0.19 points at the median;
# with 1.5 by 0.56, and the typical 4000 x 3000 decodes no faster (docs/performance.md).
MIN_REDUCED: Final = 1.75

MIN_SIDE_PX: Final = 32
MAX_ASPECT_RATIO: Final = 8.0

PARAMETERS: Final[dict[str, object]] = {
    "area_px": AREA_PX,
    "side_multiple_px": SIDE_MULTIPLE_PX,
    "fit": "keep aspect ratio, cover, centre crop",
    "resample": "pillow bilinear, antialiased",
    "channels": "RGB",
    "dtype": "uint8",
}
"""What a checkpoint's card records; `checkpoint.load` refuses a card that says otherwise."""


def input_size(width: int, height: int) -> tuple[int, int]:
    """
    Choose the network's input size for a picture.

    Args:
        width: Pixels, after EXIF rotation.
        height: Pixels, after EXIF rotation.

    Returns:
        (width, height), multiples of `SIDE_MULTIPLE_PX`, area at least `AREA_PX`.

    Raises:
        ImageRejected: A side is under `MIN_SIDE_PX`, or one side is more than
            `MAX_ASPECT_RATIO` times the other (422).
    """
    if min(width, height) < MIN_SIDE_PX:
        raise ImageRejected(
            "too_small",
            f"image: expected at least {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels, "
            f"got {width} x {height}. Send a larger picture.",
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageRejected(
            "too_narrow",
            f"image: expected sides at most {MAX_ASPECT_RATIO:g} : 1, "
            f"got {width} x {height}. Send a part of the picture.",
        )
    # Integer square roots of AREA * aspect: 4:3 must give exactly 512 x 384.
    return (
        _round_up(_ceil_sqrt(AREA_PX * width, height)),
        _round_up(_ceil_sqrt(AREA_PX * height, width)),
    )


def reduced_size(width: int, height: int) -> tuple[int, int] | None:
    """
    Return the smallest size at which a decoder may deliver a picture, if smaller than its own.

    Decoders of JPEG can drop to a half, a quarter or an eighth much faster than `preprocess` does
    it afterwards. What they deliver is to be no smaller than the network's input, so that the last
    step is always the antialiased resampling.

    Args:
        width: Pixels, as stored.
        height: Pixels, as stored.

    Returns:
        (width, height), or None where the picture has to be decoded in full.
    """
    try:
        smallest = input_size(width, height)
    except ImageRejected:  # said later, when it is known to be a picture at all
        return None
    smallest = (math.ceil(MIN_REDUCED * smallest[0]), math.ceil(MIN_REDUCED * smallest[1]))
    return smallest if 2 * smallest[0] <= width and 2 * smallest[1] <= height else None


def preprocess(image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """
    Turn a picture into the network's input; of a file, call `DecodedImage.pixels`.

    Args:
        image: Mode RGB.
        full_size: (width, height) before the decoder reduced it, any that `input_size` accepts;
            default: the image's own.

    Returns:
        uint8, shape (height, width, 3), RGB, 0-255; the size is `input_size`'s.

    Raises:
        ImageRejected: See `input_size`.
    """
    size = input_size(*(full_size or image.size))
    if image.size != size:
        image = image.resize(size, RESAMPLE, box=_centred_box(image.size, size))
    return np.asarray(image)


def is_upscaled(width: int, height: int) -> bool:
    """Tell whether `preprocess` has to invent pixels for a picture of this size."""
    return width * height < AREA_PX


def _centred_box(
    size: tuple[int, int], wanted: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the largest centred box of `size` that has the aspect ratio of `wanted`."""
    width, height = size
    scale = min(width / wanted[0], height / wanted[1])
    left, top = (width - scale * wanted[0]) / 2, (height - scale * wanted[1]) / 2
    return (max(left, 0.0), max(top, 0.0), min(width - left, width), min(height - top, height))


def _ceil_sqrt(numerator: int, denominator: int) -> int:
    """Return the smallest integer whose square is at least numerator / denominator."""
    quotient = -(-numerator // denominator)
    return math.isqrt(quotient - 1) + 1


def _round_up(side: int) -> int:
    return -(-side // SIDE_MULTIPLE_PX) * SIDE_MULTIPLE_PX
