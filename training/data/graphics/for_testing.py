"""Other graphics, by code that training has no part of: to judge with.

`training.heads.screen_graphics` adds screenshots and icons where the machine has a browser and an
icon theme.
"""

from __future__ import annotations

import colorsys
import string
from typing import Final

import matplotlib
import matplotlib.style
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage, spatial

from training.data.graphics.sheet import (
    Generator,
    Graphic,
    colour_of,
    drawn,
    figure_of,
    font_of,
    picture,
    print_words,
    size_of,
    words,
)

FONTS: Final = ("STIXGeneral", "cmr10", "cmtt10", "DejaVuSerif-Italic", "DejaVuSansMono-Bold")


def chart(rng: Generator) -> Image.Image:
    """Draw contours, a surface, a heat map, boxes or a polar plot in one of other styles."""
    style = str(rng.choice(["dark_background", "ggplot", "bmh", "seaborn-v0_8-darkgrid"]))
    with matplotlib.style.context(style):
        kind = rng.integers(5)
        projection = {1: "3d", 4: "polar"}.get(int(kind))
        figure, axes = figure_of(rng, projection)
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
        axes.set_title(words(rng, 3))
        return drawn(figure)


def terminal(rng: Generator) -> Image.Image:
    """Type coloured lines of code on a dark screen, or a table of numbers on a light one."""
    is_dark = rng.random() < 0.7
    image = Image.new("RGB", (960, 640), (24, 26, 33) if is_dark else (253, 253, 250))
    draw, font = ImageDraw.Draw(image), font_of("DejaVuSansMono-Bold", int(rng.integers(11, 20)))
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
        print_words(image, rng, (0, 0, 0), (left, 50, left + 340, 950), FONTS)
    return image


def cells(rng: Generator) -> Image.Image:
    """Colour the cells of random points, as stained glass and maps are."""
    width, height = size_of(rng)
    points = rng.uniform(0, 1, (int(rng.integers(8, 120)), 2)) * (height, width)
    _, nearest = spatial.KDTree(points).query(np.moveaxis(np.mgrid[0:height, 0:width], 0, -1))
    palette = rng.uniform(30, 255, (len(points), 3))
    pixels = palette[nearest]
    rim = (np.diff(nearest, axis=0, prepend=-1) != 0) | (np.diff(nearest, axis=1, prepend=-1) != 0)
    pixels[rim] = 0 if rng.random() < 0.5 else 255
    return picture(pixels)


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
    return picture(255 * colours(count / 48)[..., :3])


def slide(rng: Generator) -> Image.Image:
    """Lay out a slide: a ramp as ground, a heading, points, arrows and boxes."""
    image = Image.linear_gradient("L").resize((960, 540)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", image.size, colour_of(rng)), rng.uniform(0.5, 0.95))
    draw = ImageDraw.Draw(image)
    draw.text((40, 30), words(rng, 4), (255, 255, 255), font=font_of("STIXGeneral", 48))
    for row in range(int(rng.integers(3, 7))):
        draw.text((60, 130 + 60 * row), f"- {words(rng, 6)}", (250, 250, 240),
                  font=font_of("cmr10", 28))  # fmt: skip
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
        return picture(np.broadcast_to(pixels, (height, width, 3)))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    power = np.maximum(np.hypot(x, y), 1 / width) ** -rng.uniform(0.2, 0.9)
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, height, width))) * power).real
    waves = (waves - waves.mean()) / waves.std() * 45 + 128
    return picture(waves.transpose(1, 2, 0))


KINDS: Final[dict[str, Graphic]] = {
    "chart": chart, "terminal": terminal, "book": book, "cells": cells, "fractal": fractal,
    "slide": slide, "snow": snow,
}  # fmt: skip
