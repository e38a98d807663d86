"""
Graphics to tell from photographs: plots, text, windows, drawings, patterns, noise, drawn by code.

Two lists that share no drawing code: `FOR_TRAINING`, and `FOR_TESTING` to judge with. They need
nothing but Pillow, numpy, scipy and Matplotlib with its own fonts. `training.heads.screen_graphics`
adds screenshots and icons to the test where the machine has a browser and an icon theme.
"""

from __future__ import annotations

import colorsys
import io
import itertools
import math
import string
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
from scipy import ndimage, spatial

Colour = tuple[int, int, int]
Generator = np.random.Generator
Graphic = Callable[[Generator], Image.Image]

FONTS: Final = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique",
)  # fmt: skip
TEST_FONTS: Final = ("STIXGeneral", "cmr10", "cmtt10", "DejaVuSerif-Italic", "DejaVuSansMono-Bold")
SYMBOLS: Final = "★☎✈☂☀♞♫⚓⚙✂✉❤☯♻⚡⌘⌚☕✿➤⬢⬟♠♣♥♦⚑⛄⚽✎"
_TEXT: Final = (
    "the of and a to in is it you that he was for on are with as his they be at one have this from "
    "or had by hot word but what some we can out other were all there when up use your how said an "
    "each she which do their time if will way about many then them write would like so these her "
    "long make thing see him two has look more day could go come did number sound no most people"
)
WORDS: Final = tuple(_TEXT.split())


def plot(rng: Generator) -> Image.Image:
    """Draw lines, bars, points, a histogram or a pie with Matplotlib."""
    figure, axes = _figure(rng)
    kind, n = rng.integers(5), int(rng.integers(4, 40))
    for _ in range(int(rng.integers(1, 5))):
        values = np.cumsum(rng.normal(size=n))
        if kind == 0:
            axes.plot(values, marker=rng.choice(["", "o", "s"]), linewidth=rng.uniform(0.7, 3))
        elif kind == 1:
            axes.bar(range(n), np.abs(values), width=rng.uniform(0.4, 1), alpha=0.8)
        elif kind == 2:
            axes.scatter(rng.normal(size=n * 6), rng.normal(size=n * 6), s=rng.uniform(4, 60))
        elif kind == 3:
            axes.hist(rng.normal(size=n * 20), bins=n, alpha=0.7)
    if kind == 4:
        axes.pie(rng.uniform(0.2, 1, size=5), labels=list("abcde"))
    axes.set(title=_words(rng, 4), xlabel=_words(rng, 2), ylabel=_words(rng, 2))
    axes.grid(bool(rng.random() < 0.5))
    return _drawn(figure)


def text(rng: Generator) -> Image.Image:
    """Print paragraphs, dark on light or the reverse."""
    image, ink = _sheet(rng, flat=True)
    _print(image, rng, ink, (0, 0, *image.size), FONTS)
    return image


def scan(rng: Generator) -> Image.Image:
    """Print a page, turn it a little, soften it, put paper's tone and a scanner's noise on it."""
    page = Image.new("RGB", (700, 900), (255, 255, 255))
    _print(page, rng, (20, 20, 25), (40, 40, 660, 860), FONTS)
    turned = page.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=(250, 250, 250))
    pixels = ndimage.gaussian_filter(np.asarray(turned, dtype=float), (0.7, 0.7, 0))
    paper = rng.uniform(0.82, 1.0) * np.array([1, rng.uniform(0.95, 1), rng.uniform(0.85, 1)])
    slope = np.linspace(1, rng.uniform(0.85, 1), 900)[:, None, None]
    return _picture(pixels * paper * slope + rng.normal(0, rng.uniform(0.5, 4), pixels.shape))


def window(rng: Generator) -> Image.Image:
    """Draw a program's window: bars, panels, buttons, lists, some text."""
    image, ink = _sheet(rng, flat=True)
    draw, (width, height) = ImageDraw.Draw(image), image.size
    accent = _colour(rng)
    draw.rectangle((0, 0, width, 36), fill=accent)
    side = int(width * rng.uniform(0.15, 0.35))
    draw.rectangle((0, 36, side, height), fill=_near(image, rng))
    _print(image, rng, ink, (8, 44, side - 8, height), FONTS, size=14)
    for _ in range(int(rng.integers(2, 9))):
        x, y = int(rng.integers(side, width - 60)), int(rng.integers(40, height - 40))
        box = (x, y, x + int(rng.integers(50, 300)), y + int(rng.integers(20, 120)))
        draw.rounded_rectangle(box, int(rng.integers(0, 12)), fill=_near(image, rng), outline=ink)
        _print(image, rng, ink, (x + 6, y + 4, box[2] - 6, box[3]), FONTS, size=13)
    return image


def shapes(rng: Generator) -> Image.Image:
    """Draw flat shapes over each other, with smooth edges or without, outlined or not."""
    factor = int(rng.integers(1, 4))
    size = _size(rng)
    image = Image.new("RGB", (size[0] * factor, size[1] * factor), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 40))):
        x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
        w, h = rng.uniform(0.03, 0.5, 2) * min(image.size)
        outline = _colour(rng) if rng.random() < 0.4 else None
        kind, line = rng.integers(3), 2 * factor
        if kind == 0:
            draw.rectangle((x, y, x + w, y + h), fill=_colour(rng), outline=outline, width=line)
        elif kind == 1:
            draw.ellipse((x, y, x + w, y + h), fill=_colour(rng), outline=outline, width=line)
        else:
            corners = [(x + w * math.cos(a), y + h * math.sin(a)) for a in rng.uniform(0, 6.28, 5)]
            draw.polygon(corners, fill=_colour(rng), outline=outline, width=line)
    return image.resize(size, Image.Resampling.BOX)


def drawing(rng: Generator) -> Image.Image:
    """Draw a comic: wobbly areas of flat colour with dark outlines, perhaps with shading."""
    width, height = _size(rng)
    fields = ndimage.gaussian_filter(
        rng.normal(size=(4, height // 4, width // 4)), (0, *[rng.uniform(4, 14)] * 2)
    )
    levels = np.argmax(ndimage.zoom(fields, (1, 4, 4), order=1), axis=0)
    palette = np.array([_colour(rng) for _ in range(4)], dtype=float)
    pixels = palette[levels]
    edges = ndimage.maximum_filter(levels, int(rng.integers(2, 6))) != levels
    if rng.random() < 0.4:
        pixels *= np.linspace(0.8, 1.1, pixels.shape[0])[:, None, None]
    pixels[edges] = 20
    return _picture(ndimage.gaussian_filter(pixels, (0.5, 0.5, 0)))


def symbol(rng: Generator) -> Image.Image:
    """Set one large sign on a flat ground, as an icon or a logo."""
    image, ink = _sheet(rng, flat=True)
    size = int(min(image.size) * rng.uniform(0.3, 0.9))
    sign = SYMBOLS[rng.integers(len(SYMBOLS))]
    middle = (image.width / 2, image.height / 2)
    ImageDraw.Draw(image).text(middle, sign, ink, font=_font("DejaVuSans", size), anchor="mm")
    return image


def ramp(rng: Generator) -> Image.Image:
    """Fill with one colour, or a straight or round ramp of two."""
    width, height = _size(rng)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    angle = rng.uniform(0, 6.28)
    along = x * math.cos(angle) + y * math.sin(angle) if rng.random() < 0.6 else np.hypot(x, y)
    share = np.clip((along - along.min()) / max(np.ptp(along), 1e-6), 0, 1)[..., None]
    share = share * (rng.random() > 0.35)  # else flat
    return _picture(np.array(_colour(rng)) * (1 - share) + np.array(_colour(rng)) * share)


def pattern(rng: Generator) -> Image.Image:
    """Repeat a small tile of few colours, as checks, stripes and codes do."""
    width, height = _size(rng)
    n, cell = int(rng.integers(2, 30)), int(rng.integers(3, 40))
    palette = np.array([_colour(rng) for _ in range(int(rng.integers(2, 5)))])
    tile = palette[rng.integers(len(palette), size=(n, n))]
    tile = np.kron(tile, np.ones((cell, cell, 1)))
    repeats = (height // tile.shape[0] + 1, width // tile.shape[1] + 1, 1)
    return _picture(np.tile(tile, repeats)[:height, :width])


def static(rng: Generator) -> Image.Image:
    """Fill with noise alone, each channel for itself or all the same, sharp or coarse."""
    width, height = _size(rng)
    noise = rng.uniform(0, 255, (height, width, 3 if rng.random() < 0.6 else 1))
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, (*[rng.uniform(0.5, 3)] * 2, 0))
        noise = (noise - noise.mean()) / noise.std() * rng.uniform(15, 70) + 128
    return _picture(np.broadcast_to(noise, (height, width, 3)))


def field(rng: Generator) -> Image.Image:
    """Colour a smooth field by a palette of a few colours, as maps of heat and height are."""
    width, height = _size(rng)
    sides = height // 8 + 1, width // 8 + 1
    heights = ndimage.gaussian_filter(rng.normal(size=sides), rng.uniform(1, 8))
    heights = ndimage.zoom(heights, 8, order=1)[:height, :width]
    share = (heights - heights.min()) / np.ptp(heights)
    if rng.random() < 0.4:
        share = np.round(share * (n := int(rng.integers(4, 16)))) / n
    stops = np.linspace(0, 1, int(rng.integers(2, 6)))
    palette = np.array([_colour(rng) for _ in stops], dtype=float)
    return _picture(np.stack([np.interp(share, stops, palette[:, c]) for c in range(3)], -1))


def curves(rng: Generator) -> Image.Image:
    """Draw rolling curves in changing colours on a dark or a light ground."""
    image, _ = _sheet(rng, flat=True)
    draw = ImageDraw.Draw(image)
    middle, radius = np.array(image.size) / 2, min(image.size) * rng.uniform(0.2, 0.5)
    turns, ratio, share = np.linspace(0, 60, 900), rng.uniform(2, 12), rng.uniform(0.2, 0.8)
    points = np.exp(1j * turns) + share * np.exp(-1j * ratio * turns)
    places = np.stack([points.real, points.imag], -1) * radius / (1 + share) + middle
    hue, width = rng.random(), int(rng.integers(1, 9))
    for place, (a, b) in enumerate(itertools.pairwise(places)):
        colour = colorsys.hsv_to_rgb((hue + place / 900) % 1, 0.8, 0.95)
        draw.line((*a.tolist(), *b.tolist()), tuple(int(255 * c) for c in colour), width)
    return image


def badge(rng: Generator) -> Image.Image:
    """Draw one rounded form with a ramp, a rim and a shadow, alone on a plain ground."""
    side = int(rng.integers(128, 512))
    image = Image.new("RGB", (side, side), (255, 255, 255) if rng.random() < 0.6 else _colour(rng))
    low, high = int(side * rng.uniform(0.1, 0.3)), int(side * rng.uniform(0.6, 0.9))
    corner, soft = int((high - low) * rng.uniform(0.05, 0.5)), rng.uniform(0.5, side / 30)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((low, low, high, high), corner, fill=255)
    shadow = Image.fromarray(ndimage.gaussian_filter(np.asarray(mask), soft) // 3)
    image.paste((0, 0, 0), (side // 60, side // 40), shadow)
    fill = Image.linear_gradient("L").resize(image.size).convert("RGB")
    image.paste(Image.blend(fill, Image.new("RGB", image.size, _colour(rng)), 0.6), (0, 0), mask)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(
        (low, low, high, high), corner, outline=_colour(rng), width=side // 60 + 1
    )
    sign, middle = SYMBOLS[rng.integers(len(SYMBOLS))], (low + high) / 2
    font = _font("DejaVuSans", (high - low) // 2)
    draw.text((middle, middle), sign, _colour(rng), font=font, anchor="mm")
    return image


def turbulence(rng: Generator) -> Image.Image:
    """Colour waves that bend in smooth noise of many sizes, as marble, clouds and fire are made."""
    width, height = _size(rng)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    noise = np.zeros((height, width))
    for octave in range(int(rng.integers(2, 7))):
        cells = 2 ** (octave + 2)
        coarse = rng.normal(size=(cells + 4, cells + 4))
        places = [y * cells + 1.5, x * cells + 1.5]
        noise += ndimage.map_coordinates(coarse, places, order=3) / 2**octave
    if rng.random() < 0.5:
        noise = np.abs(noise)
    angle = rng.uniform(0, 6.28)
    waves = rng.uniform(0, 12) * (x * math.cos(angle) + y * math.sin(angle))
    share = 0.5 + 0.5 * np.sin(waves + rng.uniform(1, 6) * noise)
    stops = np.linspace(0, 1, int(rng.integers(2, 8)))
    palette = np.array([_colour(rng) for _ in stops], dtype=float)
    return _picture(np.stack([np.interp(share, stops, palette[:, c]) for c in range(3)], -1))


def balls(rng: Generator) -> Image.Image:
    """Render shaded balls with highlights before a ramp or a chequered floor."""
    width, height = _size(rng)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    pixels = np.linspace(_colour(rng), _colour(rng), height)[:, None, :] * np.ones((1, width, 1))
    horizon = int(height * rng.uniform(0.4, 0.8))
    if rng.random() < 0.6:
        depth = 40 / (y[horizon:] - horizon + 1)
        odd = (np.floor((x[horizon:] - width / 2) * depth / 30) + np.floor(6 * depth)) % 2
        pixels[horizon:] = np.where(odd[..., None] > 0, _colour(rng), _colour(rng))
    light = np.array([0, -1, 1.5]) + rng.normal(size=3)
    light /= np.linalg.norm(light)
    for _ in range(int(rng.integers(1, 9))):
        radius = rng.uniform(0.05, 0.25) * height
        u, v = (x - rng.uniform(0, width)) / radius, (y - rng.uniform(0, height)) / radius
        inside = u**2 + v**2 < 1
        normal = np.stack([u, v, np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))], -1)
        shade = np.clip(normal @ light, 0, 1)[..., None]
        colour = np.array(_colour(rng)) * (0.2 + 0.8 * shade) + 255 * shade ** rng.uniform(10, 60)
        pixels[inside] = colour[inside]
    return _picture(pixels)


FOR_TRAINING: Final[dict[str, Graphic]] = {
    "plot": plot, "text": text, "scan": scan, "window": window, "shapes": shapes,
    "drawing": drawing, "symbol": symbol, "ramp": ramp, "pattern": pattern, "static": static,
    "field": field, "curves": curves, "badge": badge, "turbulence": turbulence, "balls": balls,
}  # fmt: skip


def chart(rng: Generator) -> Image.Image:
    """Draw contours, a surface, a heat map, boxes or a polar plot in one of other styles."""
    style = str(rng.choice(["dark_background", "ggplot", "bmh", "seaborn-v0_8-darkgrid"]))
    with matplotlib.style.context(style):
        kind = rng.integers(5)
        projection = {1: "3d", 4: "polar"}.get(int(kind))
        figure, axes = _figure(rng, projection)
        field = ndimage.gaussian_filter(rng.normal(size=(40, 40)), 4)
        if kind == 0:
            axes.contourf(field, cmap=str(rng.choice(["viridis", "coolwarm", "terrain"])))
        elif kind == 1:
            axes.plot_surface(*np.mgrid[0:40, 0:40], field, cmap="plasma")
        elif kind == 2:
            axes.imshow(rng.normal(size=(12, 12)), cmap="magma")
        elif kind == 3:
            axes.boxplot(rng.normal(size=(30, 6)))
        else:
            axes.fill(np.linspace(0, 6.28, 9), rng.uniform(1, 3, 9), alpha=0.6)
        axes.set_title(_words(rng, 3))
        return _drawn(figure)


def terminal(rng: Generator) -> Image.Image:
    """Type coloured lines of code on a dark screen, or a table of numbers on a light one."""
    is_dark = rng.random() < 0.7
    image = Image.new("RGB", (960, 640), (24, 26, 33) if is_dark else (253, 253, 250))
    draw, font = ImageDraw.Draw(image), _font("DejaVuSansMono-Bold", int(rng.integers(11, 20)))
    for row in range(2, 640, 22):
        column = 10 + 20 * int(rng.integers(4))
        while column < 900 * rng.uniform(0.3, 1):
            token = "".join(rng.choice(list(string.printable[:80]), int(rng.integers(2, 10))))
            hue = colorsys.hsv_to_rgb(rng.random(), 0.6, 0.9 if is_dark else 0.5)
            draw.text((column, row), token, tuple(int(255 * c) for c in hue), font=font)
            column += int(draw.textlength(token + " ", font=font))
    return image


def book(rng: Generator) -> Image.Image:
    """Print two columns with formulae in other typefaces."""
    image = Image.new("RGB", (800, 1000), (255, 254, 250))
    for left in (40, 420):
        _print(image, rng, (0, 0, 0), (left, 50, left + 340, 950), TEST_FONTS)
    return image


def cells(rng: Generator) -> Image.Image:
    """Colour the cells of random points, as stained glass and maps are."""
    width, height = _size(rng)
    points = rng.uniform(0, 1, (int(rng.integers(8, 120)), 2)) * (height, width)
    _, nearest = spatial.KDTree(points).query(np.moveaxis(np.mgrid[0:height, 0:width], 0, -1))
    palette = rng.uniform(30, 255, (len(points), 3))
    pixels = palette[nearest]
    rim = (np.diff(nearest, axis=0, prepend=-1) != 0) | (np.diff(nearest, axis=1, prepend=-1) != 0)
    pixels[rim] = 0 if rng.random() < 0.5 else 255
    return _picture(pixels)


def fractal(rng: Generator) -> Image.Image:
    """Colour a part of a Julia set."""
    height, width = 360, 480
    y, x = np.mgrid[-1.2:1.2:360j, -1.6:1.6:480j]
    z, c = x + 1j * y, 0.7885 * np.exp(1j * rng.uniform(0, 6.28))
    count = np.zeros((height, width))
    for _ in range(48):
        inside = np.abs(z) < 4
        z[inside] = z[inside] ** 2 + c
        count += inside
    colours = matplotlib.colormaps[str(rng.choice(["twilight", "inferno", "cubehelix"]))]
    return _picture(255 * colours(count / 48)[..., :3])


def slide(rng: Generator) -> Image.Image:
    """Lay out a slide: a ramp as ground, a heading, points, arrows and boxes."""
    image = Image.linear_gradient("L").resize((960, 540)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", image.size, _colour(rng)), rng.uniform(0.5, 0.95))
    draw = ImageDraw.Draw(image)
    draw.text((40, 30), _words(rng, 4), (255, 255, 255), font=_font("STIXGeneral", 48))
    for row in range(int(rng.integers(3, 7))):
        draw.text((60, 130 + 60 * row), f"- {_words(rng, 6)}", (250, 250, 240),
                  font=_font("cmr10", 28))  # fmt: skip
    for _ in range(int(rng.integers(1, 5))):
        x, y = int(rng.integers(480, 800)), int(rng.integers(150, 420))
        draw.line((x, y, x + 120, y + 40), fill=(255, 220, 0), width=5)
        draw.rounded_rectangle((x, y, x + 90, y + 50), 8, outline=(255, 255, 255), width=3)
    return image


def snow(rng: Generator) -> Image.Image:
    """Fill with noise whose power falls with the frequency, or with salt and pepper."""
    width, height = 512, 384
    if rng.random() < 0.5:
        pixels = np.where(rng.random((height, width, 1)) < rng.uniform(0.3, 0.7), 0, 255)
        return _picture(np.broadcast_to(pixels, (height, width, 3)))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    power = np.maximum(np.hypot(x, y), 1 / width) ** -rng.uniform(0.2, 0.9)
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, height, width))) * power).real
    waves = (waves - waves.mean()) / waves.std() * 45 + 128
    return _picture(waves.transpose(1, 2, 0))


FOR_TESTING: Final[dict[str, Graphic]] = {
    "chart": chart, "terminal": terminal, "book": book, "cells": cells, "fractal": fractal,
    "slide": slide, "snow": snow,
}  # fmt: skip


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


def _figure(rng: Generator, projection: str | None = None) -> tuple[Figure, Any]:
    figure = Figure(figsize=tuple(rng.uniform(4, 9, 2)), dpi=rng.uniform(60, 110))
    return figure, figure.subplots(subplot_kw={"projection": projection} if projection else None)


def _drawn(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # Matplotlib's stubs have none
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # nor here
    return Image.fromarray(pixels[..., :3])


def _size(rng: Generator) -> tuple[int, int]:
    side = int(rng.integers(320, 900))
    return side, int(side * rng.uniform(0.6, 1.3))


def _colour(rng: Generator) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(*rng.uniform(0, 1, 3))
    return round(255 * red), round(255 * green), round(255 * blue)


def _sheet(rng: Generator, *, flat: bool) -> tuple[Image.Image, Colour]:
    """Return a ground and an ink that can be read on it."""
    ground = (255, 255, 255) if rng.random() < 0.4 else _colour(rng)
    ink = (0, 0, 0) if sum(ground) > 380 else (255, 255, 255)
    return Image.new("RGB", _size(rng), ground), ink


def _near(image: Image.Image, rng: Generator) -> Colour:
    """Return a colour a little off the ground's."""
    ground = np.array(image.getpixel((image.width - 1, image.height - 1)))
    red, green, blue = np.clip(ground + rng.integers(-40, 41, 3), 0, 255).tolist()
    return red, green, blue


def _words(rng: Generator, n: int) -> str:
    return " ".join(str(word) for word in rng.choice(WORDS, n))


def _print(
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
    font = _font(fonts[rng.integers(len(fonts))], size)
    draw, column_px = ImageDraw.Draw(image), max(right - left, 1)
    for y in range(top, bottom - size, round(1.4 * size)):
        if rng.random() < 0.12:
            continue  # a paragraph ends
        n = max(1, round(column_px / (3.1 * size)))
        draw.text((left, y), _words(rng, n), ink, font=font)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size)


def _picture(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
