"""Large JPEGs are decoded at a fraction of their size: what that does to pixels and score."""

from __future__ import annotations

import io

import numpy as np
import pytest
from iqa.imaging import decoding
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import input_size, reduced_size
from iqa.network.runtime import TorchRuntime
from PIL import Image

from console.paths import ROOT
from scripts.archive.mar_file import golden_pictures

# Of the 14 camera photographs it was measured on, 0.19 points at the median.
MAX_MEDIAN_POINTS = 0.5


def enlarged(picture: Image.Image, width: int, orientation: int = 1) -> bytes:
    """Return a picture at another size, with the grain of a camera, as JPEG."""
    size = (width, round(width * picture.height / picture.width))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    grain = np.random.default_rng(0).normal(0, 4, (*pixels.shape[:2], 1))
    noisy = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=88, exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """Files of 2 to 12 megapixels."""
    pictures = [Image.open(path).convert("RGB") for path in golden_pictures()]
    return [enlarged(picture, width) for picture in pictures for width in (1800, 2600, 4200)]


def test_the_score_barely_moves(photographs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded at a fraction and in full: half a point at the median, at most."""
    runtime = TorchRuntime(ROOT / "training" / "pretrained", threads=1)

    def scores() -> np.ndarray:
        return np.array(
            [100 * float(runtime.outputs(decode(body).pixels()[None])[0]) for body in photographs]
        )

    reduced = scores()
    monkeypatch.setattr(decoding, "reduced_size", lambda *size_and_policy: None)
    difference = np.abs(reduced - scores())
    assert np.median(difference) <= MAX_MEDIAN_POINTS, difference
    assert difference.max() > 0  # something was reduced at all


def test_a_reply_names_the_files_own_size_upright() -> None:
    """A client is told what it sent, though less was decoded; on its side, too."""
    (parrots,) = (path for path in golden_pictures() if path.name == "parrots.jpg")
    picture = Image.open(parrots).convert("RGB")
    for orientation, size in ((1, (4200, 2800)), (6, (2800, 4200))):
        decoded = decode(enlarged(picture, 4200, orientation))
        assert decoded.size == size
        assert decoded.image.width < size[0] / 2
        height, width = decoded.pixels().shape[:2]
        assert (width, height) == input_size(*size)


@pytest.mark.parametrize(
    ("size", "reduces"),
    [((512, 384), False), ((1600, 1200), False), ((1800, 1350), True), ((4000, 3000), True),
     ((4000, 400), False), ((20, 8000), False)],
)  # fmt: skip
def test_only_what_leaves_room_for_the_last_step_is_reduced(
    size: tuple[int, int], reduces: bool
) -> None:
    """The resampling that every picture gets is always the one that decides on detail."""
    smallest = reduced_size(*size)
    assert (smallest is not None) is reduces
    if smallest is not None:
        width, height = input_size(*size)
        assert smallest[0] >= 1.75 * width
        assert smallest[1] >= 1.75 * height
