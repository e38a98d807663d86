"""
The pictures that are sent: photographs from 0.2 to 48 megapixels, made here.

Large photographs would weigh tens of megabytes in the repository, so they are made from a golden
picture: enlarged, and given back the detail and grain that enlarging lacks, with a fixed seed.
What matters for a decoder is that they compress like photographs, and they do (`SIZES`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SOURCE: Final = Path(__file__).resolve().parent.parent / "handler" / "golden" / "parrots.jpg"
SEED: Final = 20
TILE_SIDE: Final = 1024
SMALL: Final = "0.2MP.jpg"
SMALL_BYTES: Final = 63_000
"""A common size of a 512 x 384 photograph, and the one that earlier measurements used."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """
    One picture's shape.

    Attributes:
        width: Pixels.
        height: Pixels.
        quality: Quality of the JPEG, 1-95; 0 for PNG and for one made to a number of bytes.
        detail: Standard deviation of detail and grain, grey levels of 255. Smaller pictures hold
            more of it per pixel: a camera's downscaling sharpens and averages.
    """

    width: int
    height: int
    quality: int = 0
    detail: float = 0.0


SIZES: Final[dict[str, Size]] = {
    SMALL: Size(width=512, height=384),
    "2MP.jpg": Size(width=1632, height=1224, quality=88, detail=7.0),
    "12MP.jpg": Size(width=4000, height=3000, quality=85, detail=5.0),
    "48MP.jpg": Size(width=8000, height=6000, quality=85, detail=4.0),
    "2MP.png": Size(width=1632, height=1224, detail=7.0),
    "12MP.png": Size(width=4000, height=3000, detail=5.0),
}
"""Every picture by its name."""


def make(name: str) -> bytes:
    """
    Make one picture file; the same bytes each time with the same Pillow.

    Args:
        name: One of `SIZES`.

    Raises:
        ValueError: An unknown name.
    """
    if name not in SIZES:
        raise ValueError(f"picture: expected one of {', '.join(SIZES)}, got {name!r}.")
    size = SIZES[name]
    with Image.open(SOURCE) as source:
        image = _crop(source.convert("RGB"), size.width / size.height)
    image = image.resize((size.width, size.height), Image.Resampling.LANCZOS)
    if name == SMALL:
        return _jpeg_of(image, SMALL_BYTES)
    image = _detailed(image, size.detail)
    file = io.BytesIO()
    if name.endswith(".png"):
        image.save(file, "PNG", compress_level=6)
    else:
        image.save(file, "JPEG", quality=size.quality)
    return file.getvalue()


def stored(name: str, folder: Path) -> bytes:
    """Return a picture's file out of a folder; the first time, make it and put it there."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(make(name))
        unfinished.replace(path)
    return path.read_bytes()


def _crop(image: Image.Image, aspect: float) -> Image.Image:
    """Return the largest part from the middle with width / height = aspect."""
    width = min(image.width, round(image.height * aspect))
    height = min(image.height, round(width / aspect))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _jpeg_of(image: Image.Image, wanted_bytes: int) -> bytes:
    """Return the JPEG whose size is nearest to the wanted one."""
    files = []
    for quality in range(75, 100):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    return min(files, key=lambda content: abs(len(content) - wanted_bytes))


def _detailed(image: Image.Image, deviation: float) -> Image.Image:
    """Add the detail, strip by strip: 48 megapixels at once would take a gigabyte."""
    tile_HW = _detail_tile(deviation)
    columns = np.resize(np.arange(TILE_SIDE), image.width)
    out = Image.new("RGB", image.size)
    for top in range(0, image.height, TILE_SIDE):
        rows = min(TILE_SIDE, image.height - top)
        strip_HWC = np.asarray(image.crop((0, top, image.width, top + rows)), dtype=np.int16)
        sum_HWC = strip_HWC + tile_HW[:rows, columns, None]
        out.paste(Image.fromarray(sum_HWC.clip(0, 255).astype(np.uint8)), (0, top))
    return out


def _detail_tile(deviation: float) -> NDArray[np.int16]:
    """
    Return noise with the 1/f amplitude spectrum of natural pictures, and grain on top.

    Returns:
        int16, shape (TILE_SIDE, TILE_SIDE), mean 0; periodic, so tiles join without seams.
    """
    random = np.random.default_rng(SEED)
    white_HW = random.standard_normal((TILE_SIDE, TILE_SIDE))
    frequency_HW = np.hypot(np.fft.fftfreq(TILE_SIDE)[:, None], np.fft.rfftfreq(TILE_SIDE)[None, :])
    # Below 1/64 per pixel the photograph itself has its shapes.
    spectrum_HW = np.fft.rfft2(white_HW) / frequency_HW.clip(1 / 64)
    detail_HW = np.fft.irfft2(spectrum_HW, s=(TILE_SIDE, TILE_SIDE))
    grain_HW = random.standard_normal((TILE_SIDE, TILE_SIDE))
    return (
        (detail_HW / detail_HW.std() * deviation + grain_HW * deviation / 4)
        .round()
        .astype(np.int16)
    )
