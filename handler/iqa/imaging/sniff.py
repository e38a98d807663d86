"""
Bytes -> the name of an accepted format, or the refusal that says what they are instead.

The first step of the decode: neither file names nor content types count, and no parser of another
format is ever started.
"""

from __future__ import annotations

from typing import Final

from iqa.errors import ImageRejected

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

# Files that are images to a person: told apart from rubbish, so that the answer helps.
FOREIGN_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
)


def format_of(body: bytes) -> str:
    """
    Tell the format of a file by its first bytes.

    Returns:
        JPEG, PNG, WEBP, BMP, TIFF or GIF: Pillow's name. What follows may be damaged.

    Raises:
        ImageRejected: Another format (415), or none that is known (400).
    """
    for signature, name in SIGNATURES:
        if body.startswith(signature):
            return name
    foreign = _foreign_format(body)
    if foreign is None:
        raise ImageRejected(
            "undecodable",
            f"body: expected an image file, got {len(body)} bytes that are none. "
            "Send the file itself: curl -T FILE, or -F data=@FILE.",
        )
    raise ImageRejected(
        "unsupported_format",
        f"image: expected JPEG, PNG, WebP, BMP, TIFF or GIF, got {foreign}. Convert it first.",
    )


def _foreign_format(body: bytes) -> str | None:
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n") if body[:1] in b"\xef \t\r\n<" else body
    for offset, signature, name in FOREIGN_SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    return None
