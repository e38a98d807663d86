"""
Any Pillow mode -> RGB in sRGB: transparency, CMYK, 16 bits, grey, palettes, colour profiles.

Pillow's own `convert("RGB")` drops alpha, saturates 16-bit grey and ignores profiles, all of
them silently; each would give a wrong score.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from iqa.errors import ImageRejected
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

GREY_MODES: Final = ("1", "L", "LA", "La")
DEEP_GREY_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
PLAIN_MODES: Final = ("P", "PA", "RGBA", "RGBa", "RGBX", "RGB", "YCbCr", "CMYK")

# TIFF 6.0, section 8.
BITS_PER_SAMPLE_TAG: Final = 258
PHOTOMETRIC_TAG: Final = 262
WHITE_IS_ZERO: Final = 0

MAX_PROFILE_TAGS: Final = 100  # that LittleCMS reads
SRGB_TOLERANCE: Final = 2  # of 255: editions of sRGB differ by their rounding


def to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """
    Convert a loaded picture to RGB in sRGB.

    Args:
        image: Any mode.
        notes: Warnings are appended: `grayscale_input`, `alpha_composited`,
            `cmyk_without_profile`, `icc_profile_ignored`.

    Returns:
        Mode RGB, same size.

    Raises:
        ImageRejected: A mode without a defined range or meaning (415).
    """
    profile = image.info.get("icc_profile")
    if image.mode in DEEP_GREY_MODES:
        image = _eight_bits(image)
    if image.mode in GREY_MODES:
        notes.append("grayscale_input")
        profile = None  # a grey profile says little, and the three channels stay equal
    elif image.mode not in PLAIN_MODES:
        raise ImageRejected(
            "unsupported_mode",
            f"image: expected 8- or 16-bit grey, palette, RGB or CMYK, got mode {image.mode}. "
            "Convert it first.",
        )
    if image.mode == "CMYK" and not profile:
        notes.append("cmyk_without_profile")
    image = _on_white(image, notes)
    if profile:
        image = _through_profile(image, profile, notes)
    return image if image.mode == "RGB" else image.convert("RGB")


def fit_transparent_colour(image: Image.Image) -> None:
    """
    Give a PNG's transparent colour the 8 bits that Pillow leaves of 16-bit RGB.

    Args:
        image: Not loaded: later nothing tells how many bits the file has.
    """
    colour = image.info.get("transparency")
    if not isinstance(image, PngImagePlugin.PngImageFile) or not isinstance(colour, tuple):
        return
    if image.tile and image.tile[0].args == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in colour)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Divide 16-bit grey by 257, so that 65535 becomes 255, and keep its transparency."""
    # The smaller of the two, or adding the half would wrap; a copy in the machine's byte order.
    samples = np.minimum(np.asarray(image), np.uint16(65535 - 128)).astype(np.uint16)
    eight = ((samples + np.uint16(128)) // np.uint16(257)).astype(np.uint8)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(BITS_PER_SAMPLE_TAG, (16,)))
        if bits != 16:
            raise ImageRejected(
                "unsupported_mode",
                f"image: expected 8- or 16-bit grey, got {bits} bits. Convert it first.",
            )
        if image.tag_v2.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:  # Pillow inverts 8 bits only
            eight = 255 - eight
    grey = Image.fromarray(eight)
    colour = image.info.get("transparency")
    if colour is None:
        return grey
    alpha = np.where(np.asarray(image) == colour, np.uint8(0), np.uint8(255))
    return Image.merge("LA", (grey, Image.fromarray(alpha)))


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """Composite a picture with transparency on white, as a page would show it."""
    if not image.has_transparency_data:
        return image
    profile = image.info.get("icc_profile")
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):  # an alpha channel that hides nothing
        return layer.convert("RGB")
    notes.append("alpha_composited")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    flat = page.convert("RGB")
    flat.info["icc_profile"] = profile
    return flat


def _through_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Convert colours from the embedded profile to sRGB; keep them as they are if it is broken."""
    if _is_program(profile):
        notes.append("icc_profile_ignored")
        return image
    if image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), image.mode, "RGB"
        )
        if image.mode == "RGB" and _changes_nothing(transform):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("icc_profile_ignored")
        return image
    assert converted is not None  # None only with inPlace=True
    return converted


def _is_program(profile: bytes) -> bool:
    """
    Tell whether a profile holds a list of steps of any length, each run for every colour.

    A megabyte of such multi-process elements (ICC.1:2022, 10.17) takes minutes. Photographs have
    none: it is for cinema.
    """
    if not isinstance(profile, bytes):  # a TIFF tag of another type, or a PNG text of that name
        return False
    tags = min(int.from_bytes(profile[128:132]), MAX_PROFILE_TAGS)
    for entry in range(132, 132 + 12 * tags, 12):
        start = int.from_bytes(profile[entry + 4 : entry + 8])
        if profile[start : start + 4] == b"mpet":
            return True
    return False


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """
    Tell whether a profile is sRGB, from what it does to 512 colours.

    Most are, and skipping them saves the time. Their names do not tell: linear-light profiles
    are called sRGB as well.
    """
    steps = np.linspace(0, 255, 8).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(16, 32, 3)
    after = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return bool(np.abs(np.asarray(after).astype(int) - colours).max() <= SRGB_TOLERANCE)
