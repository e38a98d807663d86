"""
AVIF and HEIC -> a loaded picture: Pillow decodes the first (dav1d), pi-heif the second (libde265).

Both are containers of HEIF, so both are checked in one way before their decoder sees them: the
items that make up the picture (`heif_boxes`) and what they make the decoder produce
(`heif_sizes`). The decoder gets them in a container written anew (`heif_rewrite`). EXIF is read
here; colours that are numbers are in `heif_colour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from iqa.errors import ImageRejected
from iqa.imaging import heif_colour
from iqa.imaging.check_before_decoding import Limits
from iqa.imaging.heif_boxes import (
    CODED,
    TURNING,
    Container,
    Item,
    NotReadable,
    read,
)
from iqa.imaging.heif_rewrite import rewritten
from iqa.imaging.heif_sizes import expect_consistent, expect_within, headers_of, payload
from iqa.imaging.part_limits import MAX_EXIF_BYTES
from PIL import Image

# Tiles stick out of a grid, alpha is decoded beside the colours, AVIF may have coarser layers.
MAX_DECODED: Final = 2.5
"""Times the pixels that are allowed."""
GREY_BIT: Final = 0x10  # monochrome, in the third byte of av1C


@dataclass(frozen=True, kw_only=True)
class Opened:
    """
    A picture whose header is read, with its EXIF block where that says how it is turned.

    Attributes:
        image: Loaded (HEIC), or to be loaded (AVIF).
        format: AVIF or HEIC.
        has_more_frames: Whether the file is a sequence as well.
        is_colour_known: False where the file describes colours that are not supported.
    """

    image: Image.Image
    format: str
    has_more_frames: bool
    is_colour_known: bool


def open_image(body: bytes, limits: Limits) -> Opened:
    """
    Check a file, and open it.

    Args:
        body: The file; it begins like one of HEIF's.
        limits: Largest picture.

    Raises:
        ImageRejected: Too many pixels (413), another codec inside, or no decoder (415); the
            boxes make no picture (400).
        Exception: Whatever the decoder says of damage.
    """
    try:
        container = read(body)
        picture = container.item(container.primary)
        coded = container.coded()
        name = _format(coded)
        needed = [container.item(number) for number in container.needed()]
        expect_within(needed, body, limits.max_bytes)
        headers = headers_of(coded, body)
        _expect_few_pixels(picture.size(), sum(one.decoded_pixels for one in headers), limits)
        expect_consistent(coded, headers)
        exif = _exif(container, body)
        plain = rewritten(container, body, b"avif" if name == "AVIF" else b"heic")
    except NotReadable as error:
        raise _broken(error) from error
    image = _open_avif(plain, coded) if name == "AVIF" else _open_heic(plain)
    if exif is not None and not any(kind in TURNING for kind, _ in picture.properties):
        image.info["exif"] = exif
    colours = picture.property_of(b"colr") or coded[0].property_of(b"colr") or b""
    is_colour_known = True
    if not image.info.get("icc_profile") and colours.startswith(b"nclx"):
        profile = heif_colour.profile(*(int.from_bytes(colours[i : i + 2]) for i in (4, 6)))
        is_colour_known = profile is not None
        if profile:
            image.info["icc_profile"] = profile
    return Opened(
        image=image, format=name, has_more_frames=container.has_tracks,
        is_colour_known=is_colour_known,
    )  # fmt: skip


def _format(coded: list[Item]) -> str:
    kinds = {item.kind for item in coded}
    if len(kinds) == 1 and kinds <= set(CODED):
        return CODED[kinds.pop()]
    names = ", ".join(sorted(kind.decode("ascii", "replace") for kind in kinds))
    raise ImageRejected(
        "unsupported_format",
        f"image: expected AVIF, or HEIF of HEVC (HEIC), got HEIF of {names!a}. Convert it first.",
    )


def _expect_few_pixels(size: tuple[int, int], decoded: int, limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageRejected(
            "too_many_pixels",
            f"image: expected at most {limits.max_pixels} pixels, "
            f"got {width} x {height}. Send a smaller picture.",
        )
    if decoded > MAX_DECODED * limits.max_pixels:
        raise ImageRejected(
            "too_many_pixels",
            f"image: expected at most {MAX_DECODED:g} times {limits.max_pixels} pixels to decode, "
            f"got {decoded}. Send a smaller picture, or save it again.",
        )


def _exif(container: Container, body: bytes) -> bytes | None:
    """Return the first EXIF block, from its TIFF header on; a broken one costs a warning later."""
    for item in container.items.values():
        if item.kind == b"Exif":
            try:
                block = payload(item, body)
            except NotReadable:
                return b"broken"
            start = 4 + int.from_bytes(block[:4])  # ISO/IEC 23008-12, A.2.1
            return block[start:][: MAX_EXIF_BYTES + 1] or b"broken"
    return None


def _open_avif(body: bytes, coded: list[Item]) -> Image.Image:
    from io import BytesIO

    from PIL import AvifImagePlugin

    # Else as many threads as cores for each file, where others wait for theirs.
    AvifImagePlugin.DEFAULT_MAX_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS or 1
    image: Image.Image = Image.open(BytesIO(body), formats=("AVIF",))
    config = coded[0].property_of(b"av1C") or b""
    is_grey = len(config) > 2 and config[2] & GREY_BIT
    if is_grey and image.mode in ("RGB", "RGBA"):
        info = image.info
        image = image.convert("L" if image.mode == "RGB" else "LA")
        image.info = info
    return image


def _open_heic(body: bytes) -> Image.Image:
    try:
        import pi_heif  # half of the files that a server sees need none of it
    except ImportError as error:
        raise ImageRejected(
            "unsupported_format",
            "image: expected a format that this installation decodes, got HEIC without pi-heif. "
            "Install torchserve/requirements.txt anew, or convert the picture first.",
        ) from error
    options = pi_heif.options
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 1
    file = pi_heif.open_heif(body)
    file[file.primary_index].load()
    mode, size = file.mode, file.size
    image = Image.frombytes(mode, size, file.data, "raw", mode, file.stride)
    profile = file.info.get("icc_profile")
    if profile:
        image.info["icc_profile"] = profile
    return image


def _broken(error: NotReadable) -> ImageRejected:
    words = str(error)
    is_cut = words.startswith("truncated: ")
    return ImageRejected(
        "truncated" if is_cut else "undecodable",
        "image: expected a complete AVIF or HEIC, got one that breaks off or is damaged "
        f"({words.removeprefix('truncated: ')}). Send the whole file.",
    )
