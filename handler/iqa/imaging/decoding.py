"""
Bytes -> RGB picture, for any file that a client or a data set may hold.

`decode` is the whole walk, one step a module: `sniff` (which format), `check` (limits), the pixels
themselves (here), `orientation`, `colour`; `preprocessing` follows when the pixels are asked for.

Nothing is trusted: size limits are checked on the header, before any pixel is decoded; a
truncated file is refused and never patched up; the format is read from the content.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from iqa.errors import ImageRejected
from iqa.imaging import check_before_decoding, colour, heif, orientation, part_limits, sniff
from iqa.imaging.check_before_decoding import DEFAULT_LIMITS, Limits
from iqa.imaging.preprocessing import DEFAULT, Policy, preprocess, reduced_size
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = ["DecodedImage", "Limits", "decode", "of_image"]

MAX_WORDS: Final = 120  # characters of a library's message that are passed on


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """
    A decoded picture and what a client is told of it.

    Attributes:
        image: Mode RGB, sRGB, upright. Smaller than the file's picture where the decoder left
            out resolution that `preprocess` would drop.
        size: (width, height) of the file's picture, upright.
        format: JPEG, PNG, WEBP, AVIF, HEIC, BMP, TIFF or GIF.
        warnings: What was changed or left out on the way; a closed list, in docs/api.md.
        policy: How it becomes the network's input.
    """

    image: Image.Image
    size: tuple[int, int]
    format: str
    warnings: tuple[str, ...]
    policy: Policy = DEFAULT

    def pixels(self) -> NDArray[np.uint8]:
        """
        Return the network's input: `preprocess` of this picture.

        Raises:
            ImageRejected: Too small or too narrow (422).
        """
        return preprocess(self.image, self.size, self.policy)


def decode(body: bytes, limits: Limits = DEFAULT_LIMITS, policy: Policy = DEFAULT) -> DecodedImage:
    """
    Decode a picture.

    Args:
        body: The file's content.
        limits: Largest file and picture.
        policy: The model's: a decoder may leave out resolution that the network does not get.

    Raises:
        ImageRejected: 400, 413 or 415, with the reason.
    """
    check_before_decoding.body_size(body, limits)
    format_name = sniff.format_of(body)
    check_before_decoding.parts(body, format_name)
    with warnings.catch_warnings():
        # Pillow warns of large pictures and odd metadata; the limit here is our own.
        warnings.simplefilter("ignore")
        notes: list[str] = []
        if format_name == sniff.HEIF:
            image, format_name = _open_heif(body, limits, notes)
        else:
            image = _open(body, format_name, limits)
        check_before_decoding.pixels(image, body, limits)
        colour.fit_transparent_colour(image)
        stored_size = image.size
        _reduce(image, policy)
        if _has_more_frames(image):
            notes.append("first_frame_only")
        _load(image, body, limits)
        if image.format == "TIFF":  # Pillow turns it while it loads, by EXIF or by XMP
            stored_size = image.size
        upright, turned = orientation.upright(image, notes)
        picture = _in_srgb(upright, notes)
    size = stored_size[::-1] if turned else stored_size
    return DecodedImage(
        image=picture, size=size, format=format_name, warnings=tuple(notes), policy=policy
    )


def of_image(
    image: Image.Image, limits: Limits = DEFAULT_LIMITS, policy: Policy = DEFAULT
) -> DecodedImage:
    """
    Do with an image that a program already has what `decode` does with a file.

    Args:
        image: Any mode; upright by its own EXIF, if it has any. It is loaded, else not changed.
        limits: Largest picture.
        policy: Of the model.

    Returns:
        As `decode`; the format is the one that Pillow read it from, or `pixels`.

    Raises:
        ImageRejected: 400, 413 or 415, with the reason.
    """
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageRejected(
            "too_many_pixels",
            f"image: expected at most {limits.max_pixels} pixels, "
            f"got {width} x {height}. Give a smaller picture.",
        )
    notes: list[str] = []
    name = "JPEG" if image.format == "MPO" else image.format or "pixels"
    try:
        colour.fit_transparent_colour(image)
        image.load()
    except Exception as error:  # a file that Pillow had only begun to read
        raise _broken(error) from error
    width, height = image.size  # of a TIFF Pillow may have turned
    upright, turned = orientation.upright(image, notes)
    return DecodedImage(
        image=_in_srgb(upright, notes), size=(height, width) if turned else (width, height),
        format=name, warnings=tuple(notes), policy=policy,
    )  # fmt: skip


def _open(body: bytes, format_name: str, limits: Limits) -> Image.Image:
    """Read the header; of the accepted parsers, only the one of this format is asked."""
    file = io.BytesIO(body) if format_name == "JPEG" else part_limits.CountedFile(body)
    try:
        return Image.open(file, formats=(format_name,))
    except ImageRejected:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(error, limits) from error
    except UnidentifiedImageError as error:
        raise _broken(SyntaxError("no readable header"), body) from error
    except Exception as error:  # Pillow's parsers raise whatever a broken header makes them meet
        raise _broken(error, body) from error


def _open_heif(body: bytes, limits: Limits, notes: list[str]) -> tuple[Image.Image, str]:
    """Read an AVIF or a HEIC; return the image and which of them it is."""
    try:
        opened = heif.open_image(body, limits)
    except (ImageRejected, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _broken(SyntaxError("no readable header"), body) from error
    except Exception as error:  # libavif and libheif, by way of Pillow and pi-heif
        raise _broken(error, body) from error
    if opened.has_more_frames:
        notes.append("first_frame_only")
    if not opened.is_colour_known:
        notes.append("icc_profile_ignored")
    return opened.image, opened.format


def _reduce(image: Image.Image, policy: Policy) -> None:
    """
    Tell the decoder of JPEG to deliver a half, a quarter or an eighth, if the rest is thrown away.

    It then leaves out most of the inverse transform: a 12-megapixel file decodes in a fifth of the
    time. How much may be left out is part of the preprocessing (`reduced_size`).
    """
    smallest = reduced_size(*image.size, policy) if image.format in ("JPEG", "MPO") else None
    if smallest is not None:
        image.draft(None, smallest)


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # the further frames are previews and gain maps, not pictures
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame does not spoil the first
        return True


def _load(image: Image.Image, body: bytes, limits: Limits) -> None:
    try:
        image.seek(0)
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(error, limits) from error
    except (ImageRejected, MemoryError):  # the second is the server's fault, not the picture's
        raise
    except Exception as error:  # libjpeg, libtiff, zlib: each has exceptions of its own
        raise _broken(error, body) from error


def _in_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return colour.to_srgb(image, notes)
    except (ImageRejected, MemoryError):
        raise
    except Exception as error:  # such as more transparent entries than the palette has
        raise _broken(error) from error


def _too_large(error: Exception, limits: Limits) -> ImageRejected:
    """Translate Pillow's limit, 179 megapixels, which comes before ours; its text has the size."""
    pixels = re.search(r"\d+", str(error))
    return ImageRejected(
        "too_many_pixels",
        f"image: expected at most {limits.max_pixels} pixels, "
        f"got {pixels[0] if pixels else 'more'}. Send a smaller picture.",
    )


def _broken(error: Exception, body: bytes = b"") -> ImageRejected:
    # Cut: a KeyError names its key, which may be a tag of a million values.
    text = " ".join((str(error) or type(error).__name__)[:MAX_WORDS].split())
    # Only Pillow's words tell a file that ends early from one that is wrong inside; of WebP it
    # says nothing, but the header holds the length.
    is_cut = any(word in text.lower() for word in ("truncated", "end of file", "not enough", "eof"))
    if body[:4] == b"RIFF":
        is_cut = len(body) < 8 + int.from_bytes(body[4:8], "little")
    return ImageRejected(
        "truncated" if is_cut else "undecodable",
        f"image: expected a complete file, got one that breaks off or is damaged ({text}). "
        "Send the whole file.",
    )
