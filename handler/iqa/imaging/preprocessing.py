"""
RGB image -> network input: the only definition, for training, evaluation and serving.

How large the input is and how an image is fitted into it is a `Policy`, which a model's card names.
By default every image is resampled to the same area, 512 x 384 pixels (KonIQ-10k's size), with its
own aspect ratio kept: no squeezing, and no more than a sliver is cropped. Why, and what the
alternatives cost: docs/decisions/0003-one-area-any-aspect-ratio.md.

Normalisation is not here: it is the first layer of the network (`iqa.network.model`), and so part
of the exported graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from iqa.errors import CheckpointMismatch, ImageRejected
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

KEEP_ASPECT: Final = "keep aspect ratio, cover, centre crop"
"""All images get about the same area; each keeps its own shape."""
FIXED_SIZE: Final = "fixed size, cover, centre crop"
"""All images get the same width and height; what does not fit is cut off."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """
    How an image becomes the network's input; named in the card of each checkpoint.

    Attributes:
        fit: `KEEP_ASPECT` or `FIXED_SIZE`.
        width_px: Width of the input; with `KEEP_ASPECT` only the product of both sides counts.
        height_px: The same.
        side_multiple_px: With `KEEP_ASPECT` sides are multiples of this.
        channels: `RGB`, or `L` for grey.
        min_side_px: Smaller images are refused.
        max_aspect_ratio: Images whose sides are further apart are refused.
    """

    fit: str = KEEP_ASPECT
    width_px: int = 512
    height_px: int = 384
    side_multiple_px: int = SIDE_MULTIPLE_PX
    channels: str = "RGB"
    min_side_px: int = MIN_SIDE_PX
    max_aspect_ratio: float = MAX_ASPECT_RATIO

    @property
    def area_px(self) -> int:
        """Area of the input, in pixels; with `KEEP_ASPECT` the least."""
        return self.width_px * self.height_px

    @property
    def is_one_size(self) -> bool:
        """Tell whether all inputs have the same width and height."""
        return self.fit == FIXED_SIZE

    @property
    def n_channels(self) -> int:
        """Channels of the input."""
        return len(self.channels)

    def parameters(self) -> dict[str, object]:
        """Return what a card records; of the default what every card has recorded so far."""
        named: dict[str, object] = {
            "fit": self.fit,
            "resample": "pillow bilinear, antialiased",
            "channels": self.channels,
            "dtype": "uint8",
        }
        if self.fit == KEEP_ASPECT:
            named |= {"area_px": self.area_px, "side_multiple_px": self.side_multiple_px}
        else:
            named |= {"width_px": self.width_px, "height_px": self.height_px}
        limits = {"min_side_px": self.min_side_px, "max_aspect_ratio": self.max_aspect_ratio}
        usual = {"min_side_px": MIN_SIDE_PX, "max_aspect_ratio": MAX_ASPECT_RATIO}
        return named | (limits if limits != usual else {})

    @classmethod
    def of_parameters(cls, named: Mapping[str, Any]) -> Policy:
        """
        Return the policy that a card records.

        Raises:
            CheckpointMismatch: This code would fit images in another way.
        """
        sizes = {"min_side_px", "max_aspect_ratio", "width_px", "height_px", "side_multiple_px"}
        told: dict[str, Any] = {key: value for key, value in named.items() if key in sizes}
        try:
            if named["fit"] == KEEP_ASPECT:
                usual = with_area(int(named["area_px"]))
                told |= {"width_px": usual.width_px, "height_px": usual.height_px}
            policy = cls(fit=named["fit"], channels=named["channels"], **told)
            is_known = policy.fit in (KEEP_ASPECT, FIXED_SIZE) and policy.channels in ("RGB", "L")
            is_same = is_known and policy.parameters() == dict(named)
        except (KeyError, TypeError, ValueError):
            is_same = False
        if not is_same:
            raise CheckpointMismatch(
                f"preprocessing: expected what this code does, such as {cls().parameters()}, got "
                f"{dict(named)}. Train or export again."
            )
        return policy


def with_area(area_px: int) -> Policy:
    """Return the default policy with another area, in pixels; of it only the product counts."""
    return Policy() if area_px == AREA_PX else Policy(width_px=area_px, height_px=1)


DEFAULT: Final = Policy()


def input_size(width: int, height: int, policy: Policy = DEFAULT) -> tuple[int, int]:
    """
    Choose the network's input size for an image.

    Args:
        width: Pixels, after EXIF rotation.
        height: Pixels, after EXIF rotation.
        policy: The model's policy.

    Returns:
        (width, height): those of the policy, or with `KEEP_ASPECT` multiples of
        `side_multiple_px` with an area of at least `area_px`.

    Raises:
        ImageRejected: A side is under `min_side_px`, or one side is more than
            `max_aspect_ratio` times the other (422).
    """
    least, ratio = policy.min_side_px, policy.max_aspect_ratio
    if min(width, height) < least:
        raise ImageRejected(
            "too_small",
            f"image: expected at least {least} x {least} pixels, "
            f"got {width} x {height}. Send a larger picture.",
        )
    if max(width, height) > ratio * min(width, height):
        raise ImageRejected(
            "too_narrow",
            f"image: expected sides at most {ratio:g} : 1, "
            f"got {width} x {height}. Send a part of the picture.",
        )
    if policy.fit == FIXED_SIZE:
        return policy.width_px, policy.height_px
    # Integer square roots of area * aspect: 4:3 must give exactly 512 x 384.
    area_px, multiple_px = policy.area_px, policy.side_multiple_px
    return (
        _round_up(_ceil_sqrt(area_px * width, height), multiple_px),
        _round_up(_ceil_sqrt(area_px * height, width), multiple_px),
    )


def reduced_size(width: int, height: int, policy: Policy = DEFAULT) -> tuple[int, int] | None:
    """
    Return the smallest size at which a decoder may deliver an image, if smaller than its own.

    Decoders of JPEG can drop to a half, a quarter or an eighth much faster than `preprocess` does
    it afterwards. What they deliver is to be no smaller than the network's input, so that the last
    step is always the antialiased resampling; so too where EXIF turns the image afterwards.

    Args:
        width: Pixels, as stored.
        height: Pixels, as stored.
        policy: The model's policy.

    Returns:
        (width, height), or None where the image has to be decoded in full.
    """
    try:
        size = input_size(width, height, policy)
    except ImageRejected:  # said later, when it is known to be an image at all
        return None
    if policy.fit == FIXED_SIZE:  # both ways round: how it is turned is not yet known
        size = (max(size), max(size))
    smallest = (math.ceil(MIN_REDUCED * size[0]), math.ceil(MIN_REDUCED * size[1]))
    return smallest if 2 * smallest[0] <= width and 2 * smallest[1] <= height else None


def preprocess(
    image: Image.Image, full_size: tuple[int, int] | None = None, policy: Policy = DEFAULT
) -> NDArray[np.uint8]:
    """
    Turn an image into the network's input; of a file, call `DecodedImage.pixels`.

    Args:
        image: Mode RGB.
        full_size: (width, height) before the decoder reduced it, any that `input_size` accepts;
            default: the image's own.
        policy: The model's policy.

    Returns:
        uint8, shape (height, width, channels), 0-255; the size is `input_size`'s.

    Raises:
        ImageRejected: See `input_size`.
    """
    size = input_size(*(full_size or image.size), policy)
    if image.size != size:
        image = image.resize(size, RESAMPLE, box=_centred_box(image.size, size))
    if policy.channels == "L":
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image)


def is_upscaled(width: int, height: int, policy: Policy = DEFAULT) -> bool:
    """Tell whether `preprocess` has to invent pixels for an image of this size."""
    return width * height < policy.area_px


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


def _round_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
