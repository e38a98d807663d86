"""The shipped model's judgement: more distortion never raises the score."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from console.paths import ROOT
from tests.server import RunningServer

# A step that the eye hardly sees may raise the score by this much, in points.
TOLERANCE = 1.0
PICTURES = ("parrots.jpg", "lighthouse.jpg")


def _blur(image: Image.Image, level: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur((0, 1.5, 3, 6)[level]))


def _noise(image: Image.Image, level: int) -> Image.Image:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, (0, 12, 25, 50)[level], (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, level: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=(95, 40, 20, 10)[level])
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("distort", [_blur, _noise, _jpeg])
def test_more_distortion_never_raises_the_score(
    server: RunningServer, distort: object, picture: str
) -> None:
    """Clean, then three levels of blur, noise or JPEG loss: the served score falls."""
    assert callable(distort)
    image = Image.open(ROOT / "handler" / "golden" / picture).convert("RGB")
    scores = []
    for level in range(4):
        file = io.BytesIO()
        distort(image, level).save(file, "PNG")
        scores.append(server.score(file.getvalue())["score"])
    assert all(b <= a + TOLERANCE for a, b in pairwise(scores)), scores
    assert scores[3] < scores[0] - 5, scores
