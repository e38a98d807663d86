"""
Bytes -> the name of an accepted format, or the refusal that says what they are instead.

The first step of the decode: neither file names nor content types count, and no parser of another
format is ever started.
"""

from __future__ import annotations

from typing import Final

from iqa.errors import ImageRejected
from iqa.imaging import formats_without_signature, unsupported_formats

# MPO, which many phones write as .jpg, is a JPEG with more frames behind it: Pillow's JPEG plugin
# opens it.
SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"RIFF", "WEBP"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"GIF8", "GIF"),
    # Pillow's two spellings with the bytes exchanged, and BigTIFF.
    (b"MM*\0", "TIFF"),
    (b"II\0*", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"II+\0", "TIFF"),
)

TAKEN: Final = "JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF"
SUFFIXES: Final = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".dib",
    ".tif", ".tiff", ".gif",
)  # fmt: skip
"""Endings of these, in any letter case: which files of a folder are taken for pictures."""
HEIF: Final = "HEIF"
"""The container of AVIF and HEIC; which of them, only its items tell."""


def format_of(body: bytes) -> str:
    """
    Tell the format of a file by its first bytes.

    Returns:
        JPEG, PNG, WEBP, BMP, TIFF or GIF: Pillow's name; or `HEIF`. What follows may be damaged.

    Raises:
        ImageRejected: Another format (415), or none that is known (400).
    """
    name = next((name for start, name in SIGNATURES if body.startswith(start)), None)
    if name is None and unsupported_formats.is_heif(body):
        name = HEIF
    image = other = None
    if name == "TIFF":
        image = formats_without_signature.raw_in_tiff(body)
    elif name is None or (name == "WEBP" and body[8:12] != b"WEBP"):  # RIFF holds sound and video
        image = unsupported_formats.image_of(body)
        other = None if image else unsupported_formats.other_of(body)
    if image or other:
        what_to_do = "Convert it first." if image else "Send an image file."
        raise ImageRejected(
            "unsupported_format",
            f"image: expected {TAKEN}, got {image or other}. {what_to_do}",
        )
    if name is None:
        raise ImageRejected(
            "undecodable",
            f"body: expected an image file, got {len(body)} bytes that are none. "
            "Send the file itself: curl -T FILE, or -F data=@FILE.",
        )
    return name
