"""
Variants of a picture, worse in steps or the same to a person; and what holds their scores.

For `training.robustness`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps

KINDS: Final = ("gaussian_blur", "white_noise", "jpeg", "rescale", "brighten", "darken")
"""Of `training.data.distortions`, where the strength of each level is written. Brighten and darken
are the exposure: whether more of them is worse depends on the picture."""


@dataclass(frozen=True, kw_only=True)
class PictureScores:
    """
    One picture's scores, in points.

    Attributes:
        levels: By kind of distortion: the original first, then level 1 to 5.
        changes: By name of a change that leaves the quality as it was.
    """

    levels: dict[str, list[float]]
    changes: dict[str, float]

    @property
    def original(self) -> float:
        """Score of the unchanged picture."""
        return self.levels[KINDS[0]][0]


def bmp(image: Image.Image) -> bytes:
    """Return a picture as a file: lossless, and quicker to write and to read than PNG."""
    return _file(image, "BMP")


def _resized(image: Image.Image, factor: float) -> bytes:
    size = (round(image.width * factor), round(image.height * factor))
    return bmp(image.resize(size, Image.Resampling.LANCZOS))


CHANGES: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    "mirrored": lambda image: bmp(ImageOps.mirror(image)),
    "jpeg_95": lambda image: _file(image, "JPEG", quality=95),
    "half_size": lambda image: _resized(image, 0.5),
    "double_size": lambda image: _resized(image, 2.0),
}
"""What a person would call the same picture, as the file that would be sent."""


def _file(image: Image.Image, format_name: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()
