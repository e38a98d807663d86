"""TIFF: directories behind tags, what turns it, and strips that are not all there."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode, of_image
from iqa.imaging.part_limits import MAX_VALUES, MAX_VALUES_OF_ALL_TAGS
from PIL import Image

from tests.attack.pieces import LONG, SHORT, Tag, tag, tiff, tiff_tags
from tests.images import encode, quarters, stored_for

EXIF, GPS, INTEROPERABILITY, XMP = 34665, 34853, 40965, 700
IFD = 13
PIXELS = bytes(range(64)) * 64


def directory(start: int, tags: list[tuple[int, int, int, int]]) -> bytes:
    """Return a directory of (tag, type, count, value or its place)."""
    entries = b"".join(struct.pack("<HHII", *one) for one in tags)
    return struct.pack("<H", len(tags)) + entries + bytes(4)


def with_directories(
    tags: list[Tag], *more: list[tuple[int, int, int, int]], values: int = 0
) -> bytes:
    """Return a grey TIFF, further directories at `place_of`, and zeros for their values."""
    body = tiff([*tiff_tags(), *tags], PIXELS)
    for one in more:
        body += directory(len(body), one)
    return body + bytes(4 * values)


def place_of(pointers: int) -> int:
    """Return where the first further directory is, behind so many tags that lead there."""
    return len(with_directories([tag(60_000 + n, LONG, 0) for n in range(pointers)]))


def refusal(body: bytes) -> ImageRejected:
    """Return the error with which a file is refused."""
    with pytest.raises(ImageRejected) as caught:
        decode(body)
    return caught.value


@pytest.mark.parametrize("pointer", [EXIF, GPS])
@pytest.mark.parametrize("kind", [SHORT, LONG, IFD])
def test_values_behind_exif_and_gps_count(pointer: int, kind: int) -> None:
    """Pillow makes an object of each, as of those in the first directory."""
    place = place_of(1)
    lead = (pointer, kind, 1, struct.pack("<I", place))

    def body(count: int) -> bytes:
        return with_directories([lead], [(0x9999, LONG, count, place + 18)], values=count)

    assert decode(body(MAX_VALUES)).warnings == ("grayscale_input",)
    assert f"at most {MAX_VALUES} values in TIFF tag 39321" in str(refusal(body(MAX_VALUES + 1)))


def test_values_behind_interoperability_count() -> None:
    """It is a directory inside EXIF's."""
    place = place_of(1)
    inner = place + 18
    body = with_directories(
        [tag(EXIF, LONG, place)],
        [(INTEROPERABILITY, LONG, 1, inner)], [(0x9999, LONG, MAX_VALUES + 1, inner + 18)],
        values=MAX_VALUES + 1,
    )  # fmt: skip
    assert "values in TIFF tag 39321" in str(refusal(body))


def test_a_directory_whose_place_is_the_first_of_many_counts() -> None:
    """Pillow takes the first value of a tag that should have one."""
    place = len(tiff([*tiff_tags(), tag(EXIF, LONG, 0, 0)], PIXELS))
    body = with_directories(
        [tag(EXIF, LONG, place, 0)], [(0x9999, LONG, MAX_VALUES + 1, place + 18)],
        values=MAX_VALUES + 1,
    )  # fmt: skip
    assert "values in TIFF tag 39321" in str(refusal(body))


def test_all_directories_have_one_total() -> None:
    """Each below the limit, together above it; one that is read twice counts twice."""
    place = place_of(2)
    count = MAX_VALUES_OF_ALL_TAGS // 6
    tags = [(0x9990 + n, LONG, count, place + 2 + 12 * 4 + 4) for n in range(4)]
    once = with_directories([tag(EXIF, LONG, place), tag(60_000, LONG, 0)], tags, values=count)
    twice = with_directories([tag(EXIF, LONG, place), tag(GPS, LONG, place)], tags, values=count)
    assert decode(once).warnings == ("grayscale_input",)
    assert f"at most {MAX_VALUES_OF_ALL_TAGS} values in the tags" in str(refusal(twice))


def test_a_directory_of_many_tags_behind_a_tag_is_refused() -> None:
    """Their number has one limit as well."""
    place = place_of(1)
    tags = [(number, SHORT, 1, 0) for number in range(4096)]
    assert "at most 4096 tags" in str(refusal(with_directories([tag(EXIF, LONG, place)], tags)))


def test_a_directory_that_leads_to_itself_is_scored() -> None:
    """Nobody follows it twice: neither the one of EXIF nor the first."""
    place = place_of(1)
    itself = with_directories(
        [tag(EXIF, LONG, place)], [(EXIF, LONG, 1, place), (INTEROPERABILITY, LONG, 1, place)]
    )
    first = with_directories([tag(EXIF, LONG, 8), tag(GPS, LONG, 8)])
    for body in (itself, first):
        assert decode(body).warnings == ("grayscale_input",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_turned_by_xmp_alone_has_its_upright_size(
    orientation: int, compression: str | None
) -> None:
    """Size, pixels and input are those of the upright picture, in a file and in an image."""
    xmp = b'<rdf:Description tiff:Orientation="%d"/>' % orientation
    stored = stored_for(orientation, quarters())
    body = encode(stored, "TIFF", compression=compression, tiffinfo={XMP: xmp})
    for decoded in (decode(body), of_image(Image.open(io.BytesIO(body)))):
        assert decoded.size == decoded.image.size == (160, 128)
        np.testing.assert_array_equal(np.asarray(decoded.image), quarters())
        assert decoded.pixels().shape == decode(encode(quarters(), "TIFF")).pixels().shape


def planes(count: int, rows: int) -> bytes:
    """Return an RGB TIFF in three planes, of which so many strips of so many rows are listed."""
    strip = bytes(64 * rows)
    tags = tiff_tags(
        bits=tag(258, SHORT, 8, 8, 8), photometric=tag(262, SHORT, 2), samples=tag(277, SHORT, 3),
        planar=tag(284, SHORT, 2), rows=tag(278, SHORT, rows),
        starts=tag(273, LONG, *[8] * count), lengths=tag(279, LONG, *[len(strip)] * count),
    )  # fmt: skip
    return tiff(tags) + bytes(64 * 64)


def test_strips_that_are_not_all_of_the_picture_are_refused() -> None:
    """Rows, tiles or a colour that no strip holds would be scored as black."""
    half = tiff(tiff_tags(rows=tag(278, SHORT, 32)), PIXELS[: 64 * 32])
    tile = [tag(322, SHORT, 32), tag(323, SHORT, 32), tag(324, LONG, 8, 8, 8), tag(325, LONG, 9)]
    for body in (half, tiff([*tiff_tags(), *tile], b"") + bytes(4096), planes(5, 32)):
        error = refusal(body)
        assert (error.status, error.reason) == (400, "truncated")
        assert "expected strips or tiles of" in str(error)


def test_strips_and_planes_that_are_all_there_are_scored() -> None:
    """Also where a strip says more rows than there are."""
    whole = tiff(tiff_tags(rows=tag(278, LONG, 2**32 - 1)), PIXELS)
    assert decode(whole).size == decode(planes(6, 32)).size == (64, 64)
