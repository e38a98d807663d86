"""Bytes to picture: an odd file is refused for its own reason, or decoded as a person sees it."""

from __future__ import annotations

import re
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iqa.errors import STATUS_OF_REASON, ImageRejected
from iqa.imaging.decoding import Limits, decode
from iqa.imaging.preprocessing import preprocess
from PIL import Image

from tests.images import (
    PLAIN_FORMATS,
    bomb,
    encode,
    flat,
    jpeg_of_many_scans,
    jpeg_with_exif,
    photograph,
    png,
    quarters,
    with_orientation,
)
from tests.odd_inputs import ODD_INPUTS

ACCEPTED = sorted(name for name, odd in ODD_INPUTS.items() if odd.status == 200)
REFUSED = sorted(name for name, odd in ODD_INPUTS.items() if odd.status != 200)
SHAPE_OF_MESSAGE = re.compile(r"^[a-z ]+: expected .+, got .+\. [A-Z].+\.$", re.DOTALL)

NO_CHANGE = Limits()
GREY_ROWS = (b"\0" + bytes(64)) * 64


def refusal(body: bytes, limits: Limits = NO_CHANGE) -> ImageRejected:
    """Return the error with which a file is refused."""
    with pytest.raises(ImageRejected) as caught:
        decode(body, limits).pixels()
    return caught.value


def little_tiff(tags: list[tuple[int, int, int]], pixels: bytes) -> bytes:
    """Return a little-endian TIFF: (tag, type, value) of one each, then StripOffsets, pixels."""
    tags = sorted([*tags, (273, 4, 8 + 2 + 12 * (len(tags) + 2) + 4), (279, 4, len(pixels))])
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_file_gives_its_size_format_and_warnings(name: str) -> None:
    """An odd but complete file is decoded to upright RGB, and a client is told what was changed."""
    odd = ODD_INPUTS[name]
    decoded = decode(odd.body)
    got = (decoded.image.mode, decoded.image.size, decoded.format, decoded.warnings)
    assert got == ("RGB", odd.size, odd.format, odd.warnings)
    assert preprocess(decoded.image).dtype == np.uint8


@pytest.mark.parametrize("name", REFUSED)
def test_refused_file_gives_its_reason_status_and_a_message_that_helps(name: str) -> None:
    """A file that cannot be scored is refused for its own reason, in the one form of message."""
    odd = ODD_INPUTS[name]
    error = refusal(odd.body)
    assert (error.reason, error.status) == (odd.reason, odd.status)
    assert STATUS_OF_REASON[error.reason] == odd.status
    assert SHAPE_OF_MESSAGE.match(str(error)), str(error)


def test_every_reason_is_met_by_some_file() -> None:
    """The table of test files covers the closed list of reasons that concern files."""
    others = {
        "too_many_bytes", "too_many_files", "unknown_format", "no_quality_map",
        "unsupported_encoding", "bad_top_k", "unknown_class",
    }  # fmt: skip
    assert {odd.reason for odd in ODD_INPUTS.values()} | others == {None, *STATUS_OF_REASON}


@pytest.mark.parametrize("orientation", range(1, 10))
def test_exif_orientation_is_undone(orientation: int) -> None:
    """However the camera was held, the picture comes out as it was seen; 9 means nothing."""
    image = decode(with_orientation(orientation)).image
    np.testing.assert_allclose(np.asarray(image, int), quarters().astype(int), atol=4)


@pytest.mark.parametrize("name", ["exif_6_png", "exif_8_webp", "exif_3_tiff"])
def test_orientation_counts_in_every_format(name: str) -> None:
    """PNG, WebP and TIFF are rotated as JPEG is, and not twice."""
    np.testing.assert_array_equal(np.asarray(decode(ODD_INPUTS[name].body).image), quarters())


def test_orientation_survives_a_tag_that_cannot_be_written() -> None:
    """A tag of the wrong type elsewhere in the EXIF block does not leave a picture on its side."""
    # Orientation 6; ImageWidth as text, which Pillow reads but cannot write.
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0") + struct.pack(
        "<HHIHH", 0x0112, 3, 1, 6, 0
    )
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    assert decode(jpeg_with_exif(exif)).image.size == (120, 160)


@pytest.mark.parametrize("name", ["animated_gif", "animated_webp", "animated_png", "paged_tiff"])
def test_first_frame_is_the_one_decoded(name: str) -> None:
    """Of an animation, or of many pages, the first is scored."""
    np.testing.assert_array_equal(np.asarray(decode(ODD_INPUTS[name].body).image), quarters())


def test_lossless_formats_decode_to_the_very_pixels() -> None:
    """PNG, BMP and TIFF give back what was stored, in RGB order."""
    for name in ("PNG", "BMP", "TIFF"):
        image = decode(PLAIN_FORMATS[name]()).image
        np.testing.assert_array_equal(np.asarray(image), photograph(160, 120), err_msg=name)


def test_body_over_the_byte_limit_is_refused_unread() -> None:
    """Too many bytes is said of any body, picture or not, with both numbers."""
    error = refusal(bytes(101), Limits(max_bytes=100))
    assert (error.reason, error.status) == ("too_many_bytes", 413)
    assert str(error) == "body: expected at most 100 bytes, got 101. Send a smaller file."


def test_body_of_exactly_the_limits_is_accepted() -> None:
    """The limits are inclusive."""
    body = PLAIN_FORMATS["PNG"]()
    limits = Limits(max_bytes=len(body), max_pixels=160 * 120)
    assert decode(body, limits).image.size == (160, 120)


@pytest.mark.parametrize("file_format", [*PLAIN_FORMATS])
def test_pixel_limit_is_checked_before_pixels_are_read(file_format: str) -> None:
    """A picture that is too large is refused as such although its pixels are cut off."""
    body = PLAIN_FORMATS[file_format]()
    cut = body if file_format in ("WEBP", "AVIF", "HEIC") else body[: len(body) * 9 // 10]
    error = refusal(cut, Limits(max_pixels=160 * 120 - 1))
    assert error.reason == "too_many_pixels"
    assert "at most 19199 pixels, got 160 x 120" in str(error)


@pytest.mark.alone
def test_pixel_bomb_costs_no_time() -> None:
    """196 megapixels in 24 kB are refused in far less time than decoding them takes."""
    body = bomb(14000)
    start = time.perf_counter()
    assert refusal(body).reason == "too_many_pixels"
    assert time.perf_counter() - start < 0.1


def test_huge_tile_of_a_small_tiff_is_refused() -> None:
    """A tile is decoded whole, so that its size counts, not only the picture's."""
    tags = [(256, 3, 64), (257, 3, 64), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tile = [(322, 4, 30000), (323, 4, 30000), (324, 4, 8), (325, 4, 100)]
    assert refusal(little_tiff(tags + tile, b"")).reason == "too_many_pixels"


def test_gif_frame_larger_than_its_screen_counts() -> None:
    """A GIF whose frame reaches beyond its small screen is as large as the frame."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0) + b"\x02\x02\x4c\x01\0;"
    body = b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame
    assert refusal(body).reason == "too_many_pixels"


def test_jpeg_of_endless_scans_is_refused() -> None:
    """A JPEG that asks to be decoded a thousand times over is refused."""
    error = refusal(jpeg_of_many_scans(1000))
    assert (error.reason, "100 scans" in str(error)) == ("undecodable", True)


def test_scans_behind_the_end_of_a_jpeg_do_not_count() -> None:
    """What a phone appends to a JPEG (a video, previews) is not taken for its scans."""
    body = PLAIN_FORMATS["JPEG"]() + b"\xff\xda\0\x02" * 1000
    assert decode(body).warnings == ()


@pytest.mark.parametrize(
    "body",
    [
        png((64, 64, 8, 3), GREY_ROWS, ((b"PLTE", bytes(3)), (b"tRNS", bytes(300)))),
        png((64, 64, 8, 3), GREY_ROWS),
        png((64, 64, 8, 0), GREY_ROWS, ((b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000))),)),
        png((64, 64, 8, 0), GREY_ROWS, ((b"iCCP", b"a\0\0" + zlib.compress(bytes(5_000_000))),)),
        PLAIN_FORMATS["JPEG"]()[:30],
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM" + bytes(100),
    ],
    ids=["long tRNS", "no palette", "text bomb", "profile bomb", "30 bytes", "8 bytes", "6", "BM"],
)
def test_damaged_file_is_undecodable_and_not_called_something_else(body: bytes) -> None:
    """A file that starts as a picture and is wrong inside is said to be damaged."""
    error = refusal(body)
    assert error.status == 400
    assert "breaks off or is damaged" in str(error)


EXIF = b"Exif\0\0MM\0*\0\0\0\x08"
MAKE = b"\x01\x0f\0\x02\0\0\0\x04abc\0"
TURNED = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0garbage!!", EXIF[:12], EXIF, EXIF[:-4] + b"\xff" * 4, EXIF + b"\0",
        EXIF + b"\0\x02" + MAKE, EXIF + b"\0\x02" + MAKE + TURNED[:6],
    ],
    ids=["no TIFF", "short header", "header alone", "far away", "half a count", "one entry of two",
         "cut in the orientation"],
)  # fmt: skip
def test_exif_that_is_cut_before_its_orientation_is_said(kind: str, block: bytes) -> None:
    """Pillow reads over it in silence, and a photograph on its side would be scored as upright."""
    decoded = decode(encode(photograph(96, 64), kind, exif=block))
    assert decoded.warnings == ("exif_ignored",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_that_is_damaged_behind_its_orientation_still_turns(kind: str) -> None:
    """What nobody needs may be missing."""
    for entries in (b"\0\x02" + MAKE + TURNED, b"\0\x09" + TURNED + MAKE):
        decoded = decode(encode(photograph(96, 64), kind, exif=EXIF + entries))
        assert (decoded.warnings, decoded.image.size) == ((), (64, 96))


def test_png_text_about_exif_that_is_no_exif_is_ignored_with_a_warning() -> None:
    """Metadata that cannot be read costs a warning, not the score."""
    broken = (b"tEXt", b"Raw profile type exif\0\nexif\n 99999\nzz")
    decoded = decode(png((64, 64, 8, 0), GREY_ROWS, (broken,)))
    assert decoded.warnings == ("exif_ignored", "grayscale_input")


def test_name_and_format_of_the_content_decide() -> None:
    """A JPEG is a JPEG, whatever precedes it in the request; leading rubbish is not skipped."""
    assert refusal(b"\r\n" + PLAIN_FORMATS["JPEG"]()).reason == "undecodable"


def test_same_bytes_give_the_same_pixels_twice() -> None:
    """Decoding has no memory."""
    body = ODD_INPUTS["wide_gamut_png"].body
    first, second = decode(body), decode(body)
    np.testing.assert_array_equal(np.asarray(first.image), np.asarray(second.image))
    assert first.warnings == second.warnings


def test_pillow_settings_are_left_alone() -> None:
    """Truncated files stay an error and Pillow's own bomb limit stays on."""
    from PIL import ImageFile

    decode(PLAIN_FORMATS["JPEG"]())
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS is not None


SMALL_FILES = {
    "JPEG": encode(photograph(48, 40), "JPEG"),
    "progressive JPEG": encode(photograph(48, 40), "JPEG", progressive=True),
    "MPO": ODD_INPUTS["mpo"].body,
    "PNG": encode(photograph(48, 40), "PNG"),
    "palette PNG": ODD_INPUTS["palette_transparent_png"].body,
    "profile PNG": ODD_INPUTS["wide_gamut_png"].body,
    "WEBP": encode(photograph(48, 40), "WEBP"),
    "BMP": encode(photograph(48, 40), "BMP"),
    "TIFF": encode(photograph(48, 40), "TIFF", compression="tiff_lzw"),
    "raw TIFF": ODD_INPUTS["exif_3_tiff"].body,
    "GIF": encode(Image.fromarray(flat((1, 2, 3), (48, 40))).convert("P"), "GIF"),
    "animated GIF": ODD_INPUTS["animated_gif"].body,
}

attack = settings(
    max_examples=15,
    deadline=2000,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", SMALL_FILES)
@attack
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_cut_is_decoded_or_refused(name: str, share: float) -> None:
    """A file that breaks off anywhere is refused as the client's fault, or was complete."""
    body = SMALL_FILES[name]
    _assert_decoded_or_refused(body[: int(share * len(body))])


@pytest.mark.parametrize("name", SMALL_FILES)
@attack
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.booleans(), st.integers(0, 255)),
        min_size=1,
        max_size=8,
    )
)
def test_any_change_of_bytes_is_decoded_or_refused(
    name: str, changes: list[tuple[float, bool, int]]
) -> None:
    """Whatever bytes are changed, nothing but a refusal escapes."""
    body = bytearray(SMALL_FILES[name])
    for share, in_header, value in changes:
        body[int(share * min(len(body), 200 if in_header else len(body)))] = value
    _assert_decoded_or_refused(bytes(body))


def _assert_decoded_or_refused(body: bytes) -> None:
    try:
        decoded = decode(body)
    except ImageRejected as error:
        assert error.status in (400, 413, 415)
        assert SHAPE_OF_MESSAGE.match(str(error)), str(error)
    else:
        assert decoded.image.mode == "RGB"
