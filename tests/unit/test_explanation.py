"""What a client asks of an explanation, and what the overlay shows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from iqa.errors import ImageRejected
from iqa.network.logit_map import LogitMap
from iqa.network.logit_map_overlay import FULL_TINT, overlay, png, spread
from iqa.request.explanation import wanted_format
from PIL import Image

GREY = np.full((96, 128, 3), 120, np.uint8)


def a_map(logits: Any) -> LogitMap:
    """Return a map of these logits."""
    outputs = np.array(0.5, np.float32)
    return LogitMap(outputs=outputs, logits=np.array(logits, dtype=np.float64))


@pytest.mark.parametrize(
    ("row", "headers", "wanted"),
    [
        ({}, {}, "json"),
        ({"body": b"..."}, {"Accept": "*/*"}, "json"),
        ({}, {"Accept": "application/json"}, "json"),
        ({}, {"Accept": "image/png"}, "png"),
        ({}, {"accept": "IMAGE/PNG"}, "png"),
        ({}, {"Accept": "image/apng,image/webp,*/*"}, "json"),
        ({"format": b"png"}, {}, "png"),
        ({"format": "png"}, {"Accept": "application/json"}, "png"),
        ({"format": bytearray(b"json")}, {"Accept": "image/png"}, "json"),
        ({}, {"accept": {"content-type": "image/png"}}, "json"),  # a form field of that name
    ],
)
def test_the_field_counts_before_the_header(
    row: dict[str, Any], headers: dict[str, Any], wanted: str
) -> None:
    """Numbers are what comes unless a picture is asked for."""
    assert wanted_format(row, headers) == wanted


@pytest.mark.parametrize("asked", [b"gif", "", b"\xff", "PNG", b"x" * 1000])
def test_another_form_is_refused_with_the_known_ones(asked: Any) -> None:
    """The message is short, whatever was asked for."""
    with pytest.raises(ImageRejected, match="format: expected json or png, got") as refused:
        wanted_format({"format": asked}, {})
    assert (refused.value.status, refused.value.reason) == (400, "unknown_format")
    assert len(str(refused.value)) < 200


def test_numbers_of_a_map_are_what_json_can_hold() -> None:
    """Rows from the top, each as long as there are columns."""
    body = a_map([[1.0000049, -2.5], [0.25, 3]]).body()
    assert body == {"rows": 2, "columns": 2, "logits": [[1.0, -2.5], [0.25, 3.0]]}
    assert type(body["logits"][0][0]) is float


def test_a_map_that_is_alike_everywhere_leaves_the_picture_grey() -> None:
    """Only what differs within the picture is tinted, however good or bad the whole is."""
    drawn = np.asarray(overlay(GREY, a_map(np.full((3, 4), 7.0))))
    np.testing.assert_array_equal(drawn, GREY)


def test_a_place_below_the_others_turns_red_and_one_above_blue() -> None:
    """The tint is where the place is: column 0 looks at the left edge, column 3 at the right."""
    logits = np.zeros((3, 4))
    logits[:, 0], logits[:, 3] = -FULL_TINT, FULL_TINT
    drawn = np.asarray(overlay(GREY, a_map(logits))).astype(int)
    red, blue = drawn[:, 2], drawn[:, -2]
    assert np.all(red[:, 0] - red[:, 2] > 50)
    assert np.all(blue[:, 2] - blue[:, 0] > 50)


def test_a_place_is_centred_on_every_32nd_pixel() -> None:
    """The network's first place looks around pixel 0, the next one around pixel 32."""
    logits = np.arange(12, dtype=np.float64).reshape(3, 4)
    pixels = spread(logits, 128, 96)
    assert pixels.shape == (96, 128)
    np.testing.assert_allclose(pixels[::32, ::32], logits, atol=0.1)


def test_a_map_may_reach_over_the_edge_of_the_picture() -> None:
    """592 pixels are 18.5 places: nineteen columns, the last one seen in part."""
    pixels = spread(np.tile(np.arange(19.0), (11, 1)), 592, 336)
    assert pixels.shape == (336, 592)
    assert abs(pixels[0, 576] - 18) < 0.1
    assert np.all(np.diff(pixels[0]) >= 0)


def test_the_png_is_one_of_the_pictures_size_and_small() -> None:
    """Noise, the worst that can be sent, in the largest input: under a megabyte."""
    noise = np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)
    file = png(noise, a_map(np.random.default_rng(1).normal(0, 3, (14, 14))))
    assert len(file) < 1_000_000
    with Image.open(io.BytesIO(file)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (448, 448), "RGB")
