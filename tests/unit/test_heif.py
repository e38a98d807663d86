"""AVIF and HEIC: upright once, right in colour, deep, tiled; and nothing is decoded unchecked."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from iqa.errors import ImageRejected
from iqa.imaging import heif_boxes
from iqa.imaging.decoding import Limits, decode
from PIL import Image

from tests.heif_files import (
    Part,
    Property,
    box,
    coded,
    exif,
    file_of,
    grid,
    imir,
    irot,
    ispe,
    nclx,
    picture,
)
from tests.icc_profiles import srgb_of_xyz, wide_gamut_profile
from tests.images import QUARTERS, encode, quarters, stored_for

AVIF = encode(quarters(), "AVIF", quality=95, subsampling="4:4:4")
HEIC = picture("quarters.heic")
BOTH = pytest.mark.parametrize("body", [AVIF, HEIC], ids=["AVIF", "HEIC"])
# What turns a picture that is stored for an EXIF orientation: mirrored first here, then rotated.
TURNS: dict[int, tuple[Property, ...]] = {
    1: (),
    2: (imir(1),),
    3: (irot(2),),
    4: (imir(0),),
    5: (irot(1), imir(0)),
    6: (irot(3),),
    7: (irot(3), imir(0)),
    8: (irot(1),),
}


def little_exif(orientation: int) -> bytes:
    """Return an EXIF block of one tag."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colours near the four corners, as `QUARTERS` lists them."""
    width, height = image.size
    places = [(5, 5), (width - 6, 5), (5, height - 6), (width - 6, height - 6)]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]


def refusal(body: bytes, limits: Limits | None = None) -> ImageRejected:
    """Return the error with which a file is refused."""
    with pytest.raises(ImageRejected) as caught:
        decode(body, limits or Limits())
    return caught.value


def brand_of(body: bytes) -> bytes:
    """Return the brand of a file."""
    return body[8:12]


def stored(orientation: int) -> bytes:
    """Return AVIF's `quarters()` as a camera stores it, without saying so."""
    return encode(stored_for(orientation, quarters()), "AVIF", quality=95, subsampling="4:4:4")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("says", ["boxes", "exif", "both"])
def test_a_turned_avif_is_upright(orientation: int, says: str) -> None:
    """By irot and imir, by EXIF where there is nothing else, and once where there are both."""
    turns = TURNS[orientation] if says != "exif" else ()
    parts = [coded(stored(orientation), *turns)]
    parts += [exif(little_exif(orientation))] if says != "boxes" else []
    decoded = decode(file_of(parts, b"avif"))
    assert decoded.size == (160, 128)
    np.testing.assert_allclose(corners(decoded.image), QUARTERS, atol=4)
    assert decoded.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("says", ["boxes", "exif", "both"])
def test_a_turned_heic_is_turned_as_the_avif_is(orientation: int, says: str) -> None:
    """The same boxes round another codec: the corners come out at the same places."""
    turns = TURNS[orientation] if says != "exif" else ()
    more = [exif(little_exif(orientation))] if says != "boxes" else []
    heic = decode(file_of([coded(HEIC, *turns), *more])).image
    avif = decode(file_of([coded(AVIF, *turns), *more], b"avif")).image
    assert heic.size == avif.size
    np.testing.assert_allclose(corners(heic), corners(avif), atol=4)


@BOTH
def test_the_container_wins_over_exif(body: bytes) -> None:
    """Where they disagree the boxes count, as ISO/IEC 23008-12 has it."""
    turned = file_of([coded(body, irot(1)), exif(little_exif(3))], brand_of(body))
    alone = file_of([coded(body, irot(1))], brand_of(body))
    np.testing.assert_array_equal(np.asarray(decode(turned).image), np.asarray(decode(alone).image))


@BOTH
def test_broken_exif_costs_a_warning(body: bytes) -> None:
    """The picture is scored all the same."""
    decoded = decode(file_of([coded(body), exif(b"no directory at all")], brand_of(body)))
    assert decoded.warnings in ((), ("exif_ignored",))
    np.testing.assert_allclose(corners(decoded.image), QUARTERS, atol=4)


@pytest.mark.parametrize("name", ["quarters_10_bits.avif", "quarters_10_bits.heic"])
def test_ten_bits_are_read(name: str) -> None:
    """Full range: white is 255, and nothing wraps."""
    np.testing.assert_allclose(corners(decode(picture(name)).image), QUARTERS, atol=4)


@BOTH
@pytest.mark.parametrize("primaries", [9, 12])
def test_wide_colours_by_number_become_srgb(body: bytes, primaries: int) -> None:
    """A mid grey stays, and an orange of Display P3 or BT.2020 becomes a stronger one of sRGB."""
    colours = np.full((64, 64, 3), (200, 120, 60), np.uint8)
    plain = encode(colours, "AVIF", quality=100, subsampling="4:4:4")
    if body is HEIC:
        file = coded(HEIC)
        named = replace(
            file, properties=(*(p for p in file.properties if p[0] != b"colr"), nclx(primaries, 13))
        )
        before, after = decode(HEIC).image, decode(file_of([named])).image
        np.testing.assert_allclose(corners(after)[3], (255, 255, 255), atol=2)
        np.testing.assert_allclose(corners(after)[0], corners(before)[0], atol=4)  # clipped
        return
    file = coded(plain)
    named = replace(
        file, properties=(*(p for p in file.properties if p[0] != b"colr"), nclx(primaries, 13))
    )
    got = np.asarray(decode(file_of([named], b"avif")).image)[32, 32].astype(float)
    # Of IEC 61966-2-1, and the matrices of SMPTE EG 432-1 and BT.2020 to XYZ under D50.
    to_xyz = {
        12: [
            [0.51512, 0.29198, 0.15710],
            [0.24120, 0.69225, 0.06657],
            [-0.00105, 0.04189, 0.78407],
        ],
        9: [[0.67348, 0.16566, 0.12504], [0.27903, 0.67535, 0.04562], [-0.00193, 0.02998, 0.79686]],
    }[primaries]
    coded_values = np.array([200, 120, 60]) / 255
    linear = np.where(
        coded_values <= 0.04045, coded_values / 12.92, ((coded_values + 0.055) / 1.055) ** 2.4
    )
    np.testing.assert_allclose(got, srgb_of_xyz(np.array(to_xyz) @ linear), atol=3)


@BOTH
def test_an_icc_profile_is_used(body: bytes) -> None:
    """As in the other formats; iPhones write Display P3 so."""
    profile = (b"colr", b"prof" + wide_gamut_profile())
    file = coded(body)
    kept = tuple(p for p in file.properties if p[0] != b"colr")
    turned = decode(file_of([replace(file, properties=(*kept, profile))], brand_of(body)))
    same = decode(encode(quarters(), "PNG", icc_profile=wide_gamut_profile()))
    np.testing.assert_allclose(corners(turned.image), corners(same.image), atol=5)


@BOTH
def test_hdr_is_scored_with_a_warning(body: bytes) -> None:
    """A curve of PQ says what a screen shall do; it is not guessed at."""
    file = coded(body)
    kept = tuple(p for p in file.properties if p[0] != b"colr")
    hdr = replace(file, properties=(*kept, nclx(9, 16)))
    assert decode(file_of([hdr], brand_of(body))).warnings == ("icc_profile_ignored",)


@BOTH
def test_a_grid_is_put_together(body: bytes) -> None:
    """Two tiles beside each other, as phones store large pictures."""
    tile = coded(body)
    made = file_of([grid(2, 1, (320, 128), (2, 3)), tile, tile], brand_of(body))
    decoded = decode(made)
    assert decoded.size == (320, 128)
    right = decoded.image.crop((160, 0, 320, 128))
    np.testing.assert_allclose(corners(right), QUARTERS, atol=4)


@BOTH
def test_a_sequence_is_its_first_picture(body: bytes) -> None:
    """Tracks are never read: a file that has some is scored by its still picture, and says so."""
    decoded = decode(body + box(b"moov", b"whatever is in there"))
    assert decoded.warnings == ("first_frame_only",)
    np.testing.assert_allclose(corners(decoded.image), QUARTERS, atol=4)


def test_an_animated_avif_is_its_first_frame() -> None:
    """As Pillow writes it, with tracks and a still picture."""
    more = [Image.fromarray(quarters()[::-1])]
    body = encode(quarters(), "AVIF", save_all=True, append_images=more, quality=95)
    decoded = decode(body)
    assert decoded.warnings == ("first_frame_only",)
    np.testing.assert_allclose(corners(decoded.image), QUARTERS, atol=8)


@BOTH
def test_too_many_pixels_are_told_from_the_container(body: bytes) -> None:
    """Before anything is decoded."""
    assert refusal(body, Limits(max_pixels=160 * 128 - 1)).reason == "too_many_pixels"
    file = coded(body)
    kept = tuple(p for p in file.properties if p[0] != b"ispe")
    large = replace(file, properties=(*kept, ispe(20_000, 20_000)))
    error = refusal(file_of([large], brand_of(body)))
    assert (error.status, error.reason) == (413, "too_many_pixels")
    assert "20000 x 20000" in str(error)


@BOTH
def test_a_small_size_does_not_hide_a_large_picture(body: bytes) -> None:
    """What the decoder would produce counts, whatever the container says."""
    limits = Limits(max_pixels=80 * 64)
    file = coded(body)
    kept = tuple(p for p in file.properties if p[0] != b"ispe")
    error = refusal(
        file_of([replace(file, properties=(*kept, ispe(64, 64)))], brand_of(body)), limits
    )
    assert error.reason == "too_many_pixels"
    assert "to decode" in str(error)


@BOTH
def test_frames_behind_each_other_count(body: bytes) -> None:
    """An item of a hundred frames costs a hundred."""
    file = coded(body)
    many = replace(file, content=file.content * 100)
    error = refusal(file_of([many], brand_of(body)), Limits(max_pixels=30 * 160 * 128))
    assert error.reason == "too_many_pixels"


@BOTH
def test_one_tile_a_thousand_times_is_refused(body: bytes) -> None:
    """Each reference would be decoded anew."""
    made = file_of([grid(30, 30, (4800, 3840), [2] * 900), coded(body)], brand_of(body))
    assert refusal(made).reason == "undecodable"


@pytest.mark.parametrize("kind", [b"jpeg", b"avc1", b"unci", b"iovl", b"j2k1"])
def test_other_codecs_are_named(kind: bytes) -> None:
    """HEIF may hold anything; only HEVC and AV1 are taken."""
    other = Part(kind=kind, content=b"\xff\xd8", properties=(ispe(64, 64),))
    error = refusal(file_of([other]))
    assert (error.status, error.reason) == (415, "unsupported_format")
    assert kind.decode() in str(error)


def test_a_heic_without_its_decoder_is_refused_and_named() -> None:
    """An archive may be served by an installation that is older than this format."""
    code = (
        "import sys, pathlib; sys.modules['pi_heif'] = None\n"
        "from iqa.errors import ImageRejected\n"
        "from iqa.imaging.decoding import decode\n"
        "try: decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "except ImageRejected as error: print(error.status, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "tests/pictures/quarters.heic"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("415 image: expected"), done.stdout
    assert "pi-heif" in done.stdout


def test_no_decoder_of_heic_is_loaded_for_other_pictures() -> None:
    """A worker that never sees one does not pay for it."""
    code = (
        "import sys\nfrom iqa.imaging.decoding import decode\nimport pathlib\n"
        "decode(pathlib.Path('handler/golden/parrots.jpg').read_bytes())\n"
        "assert 'pi_heif' not in sys.modules and 'PIL.AvifImagePlugin' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_boxes_that_lie_are_not_readable() -> None:
    """Each length and count is looked at."""
    with pytest.raises(heif_boxes.NotReadable):
        heif_boxes.read(HEIC[:40])
    with pytest.raises(heif_boxes.NotReadable):
        heif_boxes.read(box(b"ftyp", b"heic") + box(b"free", b"") * 5000)
