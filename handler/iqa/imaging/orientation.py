"""EXIF's orientation -> an upright image. A broken EXIF block costs a warning, not the score."""

from __future__ import annotations

from typing import Final

from iqa.imaging.part_limits import MAX_EXIF_BYTES
from PIL import Image

ORIENTATION_TAG: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""
LYING: Final = (5, 6, 7, 8)
"""Orientations stored with width and height exchanged."""


def upright(image: Image.Image, notes: list[str]) -> tuple[Image.Image, bool]:
    """
    Undo the EXIF orientation.

    Args:
        image: Loaded, with its metadata.
        notes: The warning `exif_ignored` is appended where the block cannot be read.

    Returns:
        The image, and whether its sides changed places.
    """
    # Not `ImageOps.exif_transpose`: it also writes the EXIF block anew, and where a tag that
    # nobody needs prevents that, it fails, and the picture would stay on its side.
    try:
        _expect_little_exif(image)
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        method = UPRIGHT.get(orientation)
    except Exception:  # a malformed EXIF block is no reason to refuse the picture
        notes.append("exif_ignored")
        return image, False
    if method is None:
        return image, False
    return image.transpose(method), orientation in LYING


def _expect_little_exif(image: Image.Image) -> None:
    """Refuse large EXIF: Pillow makes one Python object per value, millions from 32 MB."""
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        raise ValueError("more EXIF than a camera writes")
    # PNG's old way to store it: twice as many hexadecimal digits, and line breaks.
    if len(image.info.get("Raw profile type exif") or "") > 3 * MAX_EXIF_BYTES:
        raise ValueError("more EXIF than a camera writes")
