"""EXIF's orientation -> an upright image. A broken EXIF block costs a warning, not the score."""

from __future__ import annotations

from typing import Final, Literal

from iqa.imaging.part_limits import MAX_EXIF_BYTES
from PIL import Image

ORIENTATION_TAG: Final = 0x0112
PREFIX: Final = b"Exif\0\0"
BYTE_ORDERS: Final[dict[bytes, Literal["little", "big"]]] = {b"II": "little", b"MM": "big"}
ENTRY_BYTES: Final = 12
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
        _expect_directory(image.info.get("exif"))
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


def _expect_directory(block: bytes | None) -> None:
    """
    Refuse EXIF that is cut before its orientation could come: Pillow reads on without a word.

    By EXIF 2.32, section 4.5: a header of TIFF, and a directory of entries of twelve bytes.
    """
    if block is None:
        return
    block = block.removeprefix(PREFIX)
    order = BYTE_ORDERS[block[:2]]
    first = int.from_bytes(block[4:8], order)
    if len(block) < 8 or len(block) < first + 2:
        raise ValueError("a directory behind the end")
    count = int.from_bytes(block[first : first + 2], order)
    for entry in range(first + 2, first + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
        if len(block) < entry + ENTRY_BYTES:
            raise ValueError("a directory that is cut")
        if int.from_bytes(block[entry : entry + 2], order) == ORIENTATION_TAG:
            return
