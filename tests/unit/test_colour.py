"""Every mode and profile to sRGB: against numpy's own arithmetic, not Pillow's."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from iqa.errors import ImageRejected
from iqa.imaging.colour import to_srgb
from iqa.imaging.decoding import decode, of_image
from numpy.typing import NDArray
from PIL import Image

from tests.icc_profiles import WIDE_GAMUT_GAMMA, WIDE_GAMUT_TO_XYZ, srgb_of_xyz, wide_gamut_profile
from tests.images import QUARTERS, cmyk, encode, flat, photograph, png, quarters, ramp16
from tests.odd_inputs import ODD_INPUTS


def pixels_of(body: bytes) -> NDArray[np.int64]:
    """Return a file's decoded pixels, wide enough to subtract."""
    return np.asarray(decode(body).image).astype(np.int64)


def corners(body: bytes) -> NDArray[np.int64]:
    """Return the middles of the four quarters: top left, top right, bottom left, bottom right."""
    pixels = pixels_of(body)
    return np.array([pixels[32, 40], pixels[32, 120], pixels[96, 40], pixels[96, 120]])


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("transparent_red_png", (255, 255, 255)),
        ("half_red_webp", (255, 127, 127)),
        ("transparent_grey_png", (255, 255, 255)),
    ],
)
def test_transparent_picture_is_seen_on_white(name: str, colour: tuple[int, int, int]) -> None:
    """What is transparent shows white paper, in proportion; the hidden colour is gone."""
    np.testing.assert_allclose(pixels_of(ODD_INPUTS[name].body), flat(colour).astype(int), atol=1)


@pytest.mark.parametrize("name", ["palette_transparent_png", "transparent_colour_png"])
def test_one_transparent_colour_turns_white_and_the_others_stay(name: str) -> None:
    """A palette entry or a colour declared transparent (red here) is white, alone."""
    expected = [(255, 255, 255), *QUARTERS[1:]]
    np.testing.assert_array_equal(corners(ODD_INPUTS[name].body), expected)


def _png_16(kind: int, samples: tuple[int, ...], transparent: tuple[int, ...]) -> bytes:
    row = b"\0" + struct.pack(f">{len(samples)}H", *samples) * 64
    colour = struct.pack(f">{len(transparent)}H", *transparent)
    return png((64, 64, 16, kind), row * 64, ((b"tRNS", colour),))


GREY, RGB = 0, 2  # PNG, 11.2.2


@pytest.mark.parametrize(
    ("kind", "samples", "transparent", "expected"),
    [
        (GREY, (0x8000,), (0x8000,), 255), (GREY, (0x8000,), (0x8001,), 128),
        (GREY, (0,), (0x8000,), 0), (GREY, (0,), (0,), 255),
        (RGB, (0x8000,) * 3, (0x8000,) * 3, 255), (RGB, (0,) * 3, (0x8000,) * 3, 0),
        (RGB, (0x1234,) * 3, (0x1234,) * 3, 255), (RGB, (0x8000,) * 3, (0x0080,) * 3, 128),
    ],
)  # fmt: skip
def test_the_transparent_colour_of_16_bits_is_that_of_the_file(
    kind: int, samples: tuple[int, ...], transparent: tuple[int, ...], expected: int
) -> None:
    """What is transparent turns white, what is opaque stays; in a file and in an image."""
    body = _png_16(kind, samples, transparent)
    notes = ("grayscale_input",) * (kind == GREY) + ("alpha_composited",) * (expected == 255)
    for decoded in (decode(body), of_image(Image.open(io.BytesIO(body)))):
        assert (decoded.image.getpixel((5, 5)), decoded.warnings) == ((expected,) * 3, notes)


@pytest.mark.parametrize(
    "name", ["opaque_rgba_png", "palette_png", "srgb_profile_png", "broken_profile_png"]
)
def test_picture_that_needs_no_conversion_keeps_its_pixels(name: str) -> None:
    """An alpha channel that hides nothing, a palette, an sRGB or unreadable profile: no change."""
    np.testing.assert_array_equal(pixels_of(ODD_INPUTS[name].body), quarters())


@pytest.mark.parametrize("name", ["grey16_png", "grey16_tiff", "grey16_tiff_big_endian"])
def test_16_bit_grey_is_rescaled_and_not_saturated(name: str) -> None:
    """A ramp over 16 bits becomes the same ramp over 8: its mean is 127.5, not 254."""
    expected = np.round(ramp16().astype(float) / 257).astype(int)
    pixels = pixels_of(ODD_INPUTS[name].body)
    np.testing.assert_array_equal(pixels, np.repeat(expected[:, :, None], 3, axis=2))
    assert pixels.mean() == pytest.approx(127.5, abs=0.1)


def test_every_16_bit_value_is_rounded_to_its_nearest_8_bit_value() -> None:
    """All 65,536 samples are divided by 257 and rounded, without overflow at the top."""
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = np.asarray(to_srgb(Image.fromarray(samples), []))[:, :, 0].astype(int)
    np.testing.assert_array_equal(got, np.floor(samples / 257 + 0.5).astype(int))


def test_16_bit_rgb_keeps_its_range() -> None:
    """Of 16-bit RGB the high bytes are taken: ramps stay ramps."""
    pixels = pixels_of(ODD_INPUTS["rgb16_png"].body)
    ramp = ramp16().astype(int) >> 8
    np.testing.assert_allclose(pixels, np.dstack([ramp, ramp[:, ::-1], 0 * ramp + 128]), atol=1)


def _tiff_16(photometric: int, bits: int) -> bytes:
    body = bytearray(encode(ramp16(), "TIFF"))
    for tag, value in ((258, bits), (262, photometric)):
        entry = body.index(struct.pack("<HHI", tag, 3, 1))
        body[entry + 8 : entry + 10] = struct.pack("<H", value)
    return bytes(body)


def test_16_bit_tiff_in_which_zero_is_white_is_no_negative() -> None:
    """A scan stored with white as zero is inverted, as every viewer does."""
    expected = 255 - np.round(ramp16().astype(float) / 257).astype(int)
    np.testing.assert_array_equal(pixels_of(_tiff_16(0, 16))[:, :, 0], expected)


def test_12_bit_tiff_is_refused_and_not_scored_dark() -> None:
    """12 bits in a 16-bit mode would come out 16 times too dark."""
    with pytest.raises(ImageRejected, match=r"got 12 bits\. Convert it first") as caught:
        decode(_tiff_16(1, 12))
    assert caught.value.status == 415


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_grey_picture_is_the_grey_in_all_three_channels(file_format: str) -> None:
    """Grey is stacked three times, untouched."""
    grey = photograph(160, 120)[:, :, 0]
    pixels = pixels_of(encode(grey, file_format))
    np.testing.assert_array_equal(pixels, np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("name", ["one_bit_png", "one_bit_tiff"])
def test_one_bit_picture_is_black_and_white(name: str) -> None:
    """One bit becomes 0 and 255, nothing between."""
    assert set(np.unique(pixels_of(ODD_INPUTS[name].body))) == {0, 255}


@pytest.mark.parametrize("name", ["cmyk_jpeg", "ycck_jpeg"])
def test_cmyk_without_profile_is_subtracted_from_white(name: str) -> None:
    """Pure inks without a profile give their complements; Adobe's inversion is undone."""
    expected = [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]
    np.testing.assert_allclose(corners(ODD_INPUTS[name].body), expected, atol=6)


def test_cmyk_goes_through_its_profile() -> None:
    """With a profile in which every ink is black, pure cyan comes out black."""
    assert corners(ODD_INPUTS["cmyk_profile_jpeg"].body).max() <= 8
    paper = Image.new("CMYK", cmyk().size)
    profile = decode(ODD_INPUTS["cmyk_profile_jpeg"].body)
    assert profile.warnings == ()
    from tests.icc_profiles import cmyk_profile

    white = pixels_of(encode(paper, "JPEG", icc_profile=cmyk_profile()))
    assert white.min() >= 250


def test_wide_gamut_profile_is_converted_as_colour_science_says() -> None:
    """RGB in a matrix profile becomes the sRGB that numpy computes through XYZ."""
    pixels = photograph(96, 64) // 2 + 64  # inside the gamut of sRGB
    body = encode(pixels, "PNG", icc_profile=wide_gamut_profile())
    linear = (pixels / 255.0) ** WIDE_GAMUT_GAMMA
    expected = srgb_of_xyz(linear @ WIDE_GAMUT_TO_XYZ.T)
    assert np.abs(expected - pixels).max() > 15  # the profile matters
    inside = (expected > 4) & (expected < 251)
    difference = np.abs(pixels_of(body) - expected)[inside.all(axis=2)]
    assert difference.max() <= 2.5


def test_linear_light_profile_called_srgb_is_converted() -> None:
    """A profile is judged by what it does and not by its name: linear light is much darker."""
    profile = wide_gamut_profile(b"sRGB, linear light", gamma=1.0)
    pixels = pixels_of(encode(flat((128, 128, 128)), "PNG", icc_profile=profile))
    np.testing.assert_allclose(pixels, 188, atol=1)  # 0.5 of the light is 188 of 255


def test_profile_of_a_transparent_picture_is_applied_too() -> None:
    """Compositing on white does not lose the profile."""
    opaque = encode(quarters(), "PNG", icc_profile=wide_gamut_profile())
    alpha = np.full((128, 160), 255, np.uint8)
    alpha[0, 0] = 0
    layered = encode(np.dstack([quarters(), alpha]), "PNG", icc_profile=wide_gamut_profile())
    assert decode(layered).warnings == ("alpha_composited",)
    np.testing.assert_array_equal(corners(layered), corners(opaque))


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "HSV"])
def test_mode_without_a_range_is_refused(mode: str) -> None:
    """Floats, 32-bit integers and other colour spaces have no white to scale to: 415."""
    with pytest.raises(ImageRejected, match=f"got mode {mode}") as caught:
        to_srgb(Image.new(mode, (32, 32)), [])
    assert (caught.value.reason, caught.value.status) == ("unsupported_mode", 415)
