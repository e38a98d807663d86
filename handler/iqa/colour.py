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
from PIL import Image, ImageCms

GREY_MODES: Final = ("1", "L", "LA", "La")
DEEP_GREY_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
PLAIN_MODES: Final = ("P", "PA", "RGBA", "RGBa", "RGBX", "RGB", "YCbCr", "CMYK")


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


def _eight_bits(image: Image.Image) -> Image.Image:
    """Divide 16-bit grey by 257, so that 65535 becomes 255 and nothing saturates."""
    samples = np.asarray(image).astype(np.uint32)  # a copy in the machine's byte order
    return Image.fromarray(((samples + 128) // 257).astype(np.uint8))


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """Composite a picture with transparency on white, as a page would show it."""
    if not image.has_transparency_data:
        return image
    profile = image.info.get("icc_profile")
    layer = image.convert("RGBA")
    if layer.getextrema()[3] == (255, 255):  # an alpha channel that hides nothing
        return layer.convert("RGB")
    notes.append("alpha_composited")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    flat = page.convert("RGB")
    flat.info["icc_profile"] = profile
    return flat


def _through_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Convert colours from the embedded profile to sRGB; keep them as they are if it is broken."""
    if image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("icc_profile_ignored")
        return image
    assert converted is not None  # None only with inPlace=True
    return converted
