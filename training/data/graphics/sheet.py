"""What drawings are made on, and with: figures, sheets, colours, words, fonts."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Generator = np.random.Generator
Graphic = Callable[[Generator], Image.Image]

_TEXT: Final = (
    "the of and a to in is it you that he was for on are with as his they be at one have this from "
    "or had by hot word but what some we can out other were all there when up use your how said an "
    "each she which do their time if will way about many then them write would like so these her "
    "long make thing see him two has look more day could go come did number sound no most people"
)
WORDS: Final = tuple(_TEXT.split())


def as_sent(image: Image.Image, rng: Generator) -> Image.Image:
    """Send a graphic as people do: as it is, smaller or larger, or as a JPEG."""
    if (chance := rng.random()) < 0.45:  # some as small as thumbnails and icons are
        factor = rng.uniform(0.6, 1.8) if chance < 0.3 else rng.uniform(0.1, 0.4)
        size = (max(64, round(image.width * factor)), max(64, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(25, 96)))
        image = Image.open(file, formats=["JPEG"]).convert("RGB")
    return image


def figure_of(rng: Generator, projection: str | None = None) -> tuple[Figure, Any]:
    """Return a figure of some size, and its axes."""
    figure = Figure(figsize=tuple(rng.uniform(4, 9, 2)), dpi=rng.uniform(60, 110))
    return figure, figure.subplots(subplot_kw={"projection": projection} if projection else None)


def drawn(figure: Figure) -> Image.Image:
    """Render a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # Matplotlib's stubs have none
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # nor here
    return Image.fromarray(pixels[..., :3])


def size_of(rng: Generator) -> tuple[int, int]:
    """Draw a width and a height, pixels."""
    side = int(rng.integers(320, 900))
    return side, int(side * rng.uniform(0.6, 1.3))


def colour_of(rng: Generator) -> Colour:
    """Draw a colour."""
    red, green, blue = colorsys.hsv_to_rgb(*rng.uniform(0, 1, 3))
    return round(255 * red), round(255 * green), round(255 * blue)


def sheet(rng: Generator, *, flat: bool) -> tuple[Image.Image, Colour]:
    """Return a ground and an ink that can be read on it."""
    ground = (255, 255, 255) if rng.random() < 0.4 else colour_of(rng)
    ink = (0, 0, 0) if sum(ground) > 380 else (255, 255, 255)
    return Image.new("RGB", size_of(rng), ground), ink


def near(image: Image.Image, rng: Generator) -> Colour:
    """Return a colour a little off the ground's."""
    ground = np.array(image.getpixel((image.width - 1, image.height - 1)))
    red, green, blue = np.clip(ground + rng.integers(-40, 41, 3), 0, 255).tolist()
    return red, green, blue


def words(rng: Generator, n: int) -> str:
    """Draw so many words."""
    return " ".join(str(word) for word in rng.choice(WORDS, n))


def print_words(
    image: Image.Image,
    rng: Generator,
    ink: Colour,
    box: tuple[int, int, int, int],
    fonts: tuple[str, ...],
    size: int | None = None,
) -> None:
    """Fill a box with lines of words."""
    left, top, right, bottom = box
    size = size or int(rng.integers(10, 34))
    font = font_of(fonts[rng.integers(len(fonts))], size)
    draw, column_px = ImageDraw.Draw(image), max(right - left, 1)
    for y in range(top, bottom - size, round(1.4 * size)):
        if rng.random() < 0.12:
            continue  # a paragraph ends
        n = max(1, round(column_px / (3.1 * size)))
        draw.text((left, y), words(rng, n), ink, font=font)


def font_of(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return one of Matplotlib's own fonts."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size)


def picture(pixels: NDArray[Any]) -> Image.Image:
    """Return values from 0 to 255, (H, W) or (H, W, 3), as an image."""
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def by_palette(share: NDArray[np.float64], rng: Generator, n: int) -> Image.Image:
    """Colour values from 0 to 1 by n random colours and what lies between them."""
    stops = np.linspace(0, 1, n)
    palette = np.array([colour_of(rng) for _ in stops], dtype=float)
    return picture(np.stack([np.interp(share, stops, palette[:, c]) for c in range(3)], -1))
