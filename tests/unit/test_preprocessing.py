"""RGB picture to network input: size, proportion, antialiasing, and values that must not move."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import (
    AREA_PX,
    DEFAULT,
    FIXED_SIZE,
    KEEP_ASPECT,
    MAX_ASPECT_RATIO,
    SIDE_MULTIPLE_PX,
    Policy,
    input_size,
    is_upscaled,
    preprocess,
    with_area,
)
from numpy.typing import NDArray
from PIL import Image

from console.paths import ROOT
from tests.images import encode, photograph, quarters

Grid = NDArray[np.float64]

scorable = st.tuples(st.integers(32, 12000), st.integers(32, 12000)).filter(
    lambda size: max(size) <= MAX_ASPECT_RATIO * min(size)
)


def resized(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Preprocess an array."""
    return preprocess(Image.fromarray(pixels))


@given(size=scorable)
@settings(max_examples=150, derandomize=True, database=None)
def test_input_size_keeps_area_and_proportion(size: tuple[int, int]) -> None:
    """Any picture gets at least the area, in multiples of 16, with at most a sliver cropped."""
    width, height = input_size(*size)
    assert width % SIDE_MULTIPLE_PX == height % SIDE_MULTIPLE_PX == 0
    assert width * height >= AREA_PX
    # Rounding up adds less than 16 pixels to a side of the exact size.
    exact = (AREA_PX * size[0] / size[1]) ** 0.5, (AREA_PX * size[1] / size[0]) ** 0.5
    assert 0 <= width - exact[0] < SIDE_MULTIPLE_PX + 1
    assert 0 <= height - exact[1] < SIDE_MULTIPLE_PX + 1


@given(size=scorable)
@settings(max_examples=50, derandomize=True, database=None)
def test_portrait_is_landscape_turned(size: tuple[int, int]) -> None:
    """Width and height are treated alike."""
    assert input_size(*size) == input_size(*size[::-1])[::-1]


@given(size=scorable, factor=st.integers(2, 5))
@settings(max_examples=50, derandomize=True, database=None)
def test_input_size_depends_on_proportion_alone(size: tuple[int, int], factor: int) -> None:
    """The same picture at a multiple of its size gets the same input."""
    assert input_size(*size) == input_size(size[0] * factor, size[1] * factor)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 384), (512, 384)),
        ((1024, 768), (512, 384)),
        ((4000, 3000), (512, 384)),
        ((384, 512), (384, 512)),
        ((512, 512), (448, 448)),
        ((1920, 1080), (592, 336)),
        ((512, 64), (1264, 160)),
        ((64, 512), (160, 1264)),
        ((32, 32), (448, 448)),
    ],
)
def test_input_size_of_common_shapes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The sizes that the runtime compiles for are these."""
    assert input_size(*size) == expected


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((31, 32), "too_small"),
        ((32, 31), "too_small"),
        ((16, 480), "too_small"),
        ((1, 1), "too_small"),
        ((257, 32), "too_narrow"),
        ((32, 257), "too_narrow"),
        ((8001, 1000), "too_narrow"),
    ],
)
def test_picture_that_cannot_be_judged_is_refused(size: tuple[int, int], reason: str) -> None:
    """A side under 32 pixels, or one more than 8 times the other, is a 422 that names the size."""
    with pytest.raises(ImageRejected, match=f"got {size[0]} x {size[1]}") as caught:
        input_size(*size)
    assert (caught.value.reason, caught.value.status) == (reason, 422)


@pytest.mark.parametrize("size", [(256, 32), (32, 256), (8000, 1000)])
def test_eight_to_one_is_accepted(size: tuple[int, int]) -> None:
    """The limit of proportion is inclusive."""
    width, height = input_size(*size)
    assert max(width, height) / min(width, height) == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("size", [(512, 384), (384, 512), (448, 448)])
def test_picture_of_input_size_is_untouched(size: tuple[int, int]) -> None:
    """KonIQ-10k's own pictures reach the network pixel for pixel."""
    pixels = photograph(*size)
    np.testing.assert_array_equal(resized(pixels), pixels)


@pytest.mark.parametrize("size", [(1024, 768), (700, 500), (500, 700), (100, 90), (1000, 125)])
def test_input_has_the_announced_shape_and_type(size: tuple[int, int]) -> None:
    """The array is uint8, (height, width, 3), of `input_size`."""
    width, height = input_size(*size)
    array = resized(photograph(*size))
    assert (array.shape, array.dtype) == ((height, width, 3), np.uint8)


def test_fine_checkerboard_becomes_flat_grey() -> None:
    """Shrinking averages what it cannot show: no moire, which would be taken for detail."""
    y, x = np.mgrid[0:1536, 0:2048]
    board = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    inner = resized(board)[4:-4, 4:-4].astype(int)
    assert np.abs(inner - 128).max() <= 2


def test_what_is_cropped_is_the_same_on_both_sides() -> None:
    """A mirror-symmetric picture stays symmetric: the crop is centred."""
    half = photograph(500, 701)
    pixels = resized(np.concatenate([half, half[:, ::-1]], axis=1)).astype(int)
    assert np.abs(pixels - pixels[:, ::-1]).max() <= 1


def test_at_most_a_sliver_is_cropped() -> None:
    """Lines just inside the border survive, in the worst case of rounding."""
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    margin = 32  # of 1080; half of 15 pixels at a scale of 3.2, and the filter's reach
    pixels[margin : margin + 8] = pixels[-margin - 8 : -margin] = 255
    rows = resized(pixels).max(axis=(1, 2))
    assert rows[: len(rows) // 4].max() > 128
    assert rows[-len(rows) // 4 :].max() > 128


def test_colours_keep_their_places_and_channels() -> None:
    """Red stays red, top left stays top left."""
    array = resized(quarters(1600, 1280))
    height, width = array.shape[:2]
    places = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    got = [tuple(int(v) for v in array[place]) for place in places]
    assert got == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 384), False), ((511, 384), True), ((4000, 3000), False), ((32, 32), True)],
)
def test_upscaled_is_said_of_pictures_under_the_area(size: tuple[int, int], expected: bool) -> None:
    """Fewer pixels than the network sees means that some are invented."""
    assert is_upscaled(*size) is expected


def _summary(pixels: NDArray[np.uint8]) -> tuple[Grid, Grid]:
    """Return brightness, and difference between neighbours, of 3 x 4 blocks."""
    grey = pixels.astype(float).mean(axis=2)
    detail = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    rows, columns = grey.shape[0] // 3, grey.shape[1] // 4

    def blocks(values: Grid) -> Grid:
        cut = values[: 3 * rows, : 4 * columns].reshape(3, rows, 4, columns)
        return np.asarray(cut.mean(axis=(1, 3)))

    return blocks(grey), blocks(detail)


GOLDEN = {
    "large PNG": (
        (1600, 1100),
        "PNG",
        [
            [121.73, 149.60, 142.15, 158.94],
            [89.60, 133.56, 136.12, 132.80],
            [89.59, 104.38, 135.46, 128.22],
        ],
        [[1.86, 1.66, 1.65, 1.60], [1.73, 1.89, 1.66, 1.56], [1.70, 1.83, 1.80, 1.61]],
    ),
    "large JPEG": (
        (1400, 1050),
        "JPEG",
        [
            [117.81, 154.45, 158.72, 159.21],
            [101.44, 125.47, 136.69, 153.51],
            [97.63, 98.94, 137.04, 128.32],
        ],
        [[2.29, 2.08, 1.98, 1.93], [1.99, 2.16, 1.99, 1.94], [1.94, 2.09, 2.21, 2.00]],
    ),
    "small portrait": (
        (150, 200),
        "PNG",
        [
            [105.28, 142.67, 182.12, 146.76],
            [100.81, 117.24, 115.41, 146.40],
            [97.38, 90.31, 111.48, 138.35],
        ],
        [[2.46, 2.44, 2.33, 2.26], [2.24, 2.38, 2.39, 2.19], [2.26, 2.32, 2.40, 2.39]],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_inputs_have_not_moved(name: str) -> None:
    """Decoding and resampling give the brightness and the detail that models were trained on."""
    size, file_format, brightness, detail = GOLDEN[name]
    options = {"quality": 90} if file_format == "JPEG" else {"compress_level": 1}
    body = encode(photograph(*size, seed=7), file_format, **options)
    got_brightness, got_detail = _summary(decode(body).pixels())
    remedy = (
        "The network's input has changed: another library, filter or size. Scores will move; "
        "train again, say so in the CHANGELOG, and only then renew GOLDEN."
    )
    np.testing.assert_allclose(got_brightness, brightness, atol=0.5, err_msg=remedy)
    np.testing.assert_allclose(got_detail, detail, rtol=0.02, err_msg=remedy)


THUMBNAIL = Policy(fit=FIXED_SIZE, width_px=28, height_px=28, channels="L", min_side_px=8)


def test_the_default_policy_is_what_every_card_has_recorded_so_far() -> None:
    """The shipped card names the default, and no other policy reads or writes these parameters."""
    card = json.loads((ROOT / "training" / "pretrained" / "model.json").read_text())
    assert Policy.of_parameters(card["preprocessing"]) == DEFAULT
    assert card["preprocessing"] == DEFAULT.parameters()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (320, 320)), ((4000, 3000), (368, 272)), ((600, 900), (256, 384))],
)
def test_a_smaller_area_keeps_the_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Half of the usual pixels, in the image's own aspect ratio; of all of them it is the usual."""
    assert input_size(*size, with_area(AREA_PX // 2)) == expected
    assert with_area(AREA_PX) == DEFAULT


@pytest.mark.parametrize(
    "policy",
    [
        THUMBNAIL,
        Policy(fit=FIXED_SIZE, width_px=224, height_px=224),
        Policy(fit=KEEP_ASPECT, width_px=224 * 224, height_px=1, channels="L"),
        Policy(min_side_px=8),
        with_area(AREA_PX // 2),
    ],
)
def test_a_policy_comes_back_from_a_card_as_it_was(policy: Policy) -> None:
    """JSON and back; it is told apart from the default."""
    named = json.loads(json.dumps(policy.parameters()))
    assert Policy.of_parameters(named) == policy
    assert named != DEFAULT.parameters()


@pytest.mark.parametrize("size", [(28, 28), (640, 480), (9, 70), (3000, 400)])
def test_a_small_grey_input_is_made_of_any_image(size: tuple[int, int]) -> None:
    """28 x 28 and one channel, whatever the image's size and shape."""
    image = Image.new("RGB", size, (200, 100, 50))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    decoded = decode(file.getvalue(), policy=THUMBNAIL)
    pixels = decoded.pixels()
    assert (pixels.shape, pixels.dtype) == ((28, 28, 1), np.uint8)
    np.testing.assert_allclose(pixels, 124, atol=2)  # 0.299 R + 0.587 G + 0.114 B, ITU-R 601-2


def test_a_policy_has_its_own_smallest_image() -> None:
    """What is too small for one model may do for another."""
    with pytest.raises(ImageRejected, match="at least 32 x 32"):
        preprocess(Image.new("RGB", (20, 20)))
    assert preprocess(Image.new("RGB", (20, 20)), policy=THUMBNAIL).shape == (28, 28, 1)
    with pytest.raises(ImageRejected, match="at least 8 x 8"):
        preprocess(Image.new("RGB", (7, 20)), policy=THUMBNAIL)


def test_a_jpeg_on_its_side_is_reduced_no_further_than_its_upright_input() -> None:
    """For an input that is wider than high, too: EXIF turns the picture after it is reduced."""
    policy = Policy(fit=FIXED_SIZE, width_px=64, height_px=16)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(photograph(250, 125))
    upright = lying.transpose(Image.Transpose.ROTATE_270)
    turned = decode(encode(lying, "JPEG", quality=95, exif=exif), policy=policy)
    assert (turned.size, turned.image.size) == ((125, 250), (125, 250))
    expected = decode(encode(upright, "JPEG", quality=95), policy=policy).pixels()
    assert np.abs(turned.pixels().astype(int) - expected).mean() < 2
    assert decode(encode(photograph(500, 500), "JPEG"), policy=policy).image.size == (125, 125)
