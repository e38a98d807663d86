"""Plots, text, windows, drawings, patterns, noise, rendered scenes: to learn from."""

from __future__ import annotations

import colorsys
import itertools
import math
from typing import Final

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from training.data.graphics import fractals
from training.data.graphics.sheet import (
    Generator,
    Graphic,
    by_palette,
    colour_of,
    drawn,
    figure_of,
    font_of,
    near,
    picture,
    print_words,
    sheet,
    size_of,
    words,
)

FONTS: Final = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique",
)  # fmt: skip
SYMBOLS: Final = "★☎✈☂☀♞♫⚓⚙✂✉❤☯♻⚡⌘⌚☕✿➤⬢⬟♠♣♥♦⚑⛄⚽✎"


def plot(rng: Generator) -> Image.Image:
    """Draw lines, bars, points, a histogram or a pie with Matplotlib."""
    figure, axes = figure_of(rng)
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
    axes.set(title=words(rng, 4), xlabel=words(rng, 2), ylabel=words(rng, 2))
    axes.grid(bool(rng.random() < 0.5))
    return drawn(figure)


def text(rng: Generator) -> Image.Image:
    """Print paragraphs, dark on light or the reverse."""
    image, ink = sheet(rng, flat=True)
    print_words(image, rng, ink, (0, 0, *image.size), FONTS)
    return image


def scan(rng: Generator) -> Image.Image:
    """Print a page, turn it a little, soften it, put paper's tone and a scanner's noise on it."""
    page = Image.new("RGB", (700, 900), (255, 255, 255))
    print_words(page, rng, (20, 20, 25), (40, 40, 660, 860), FONTS)
    turned = page.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=(250, 250, 250))
    pixels = ndimage.gaussian_filter(np.asarray(turned, dtype=float), (0.7, 0.7, 0))
    paper = rng.uniform(0.82, 1.0) * np.array([1, rng.uniform(0.95, 1), rng.uniform(0.85, 1)])
    slope = np.linspace(1, rng.uniform(0.85, 1), 900)[:, None, None]
    return picture(pixels * paper * slope + rng.normal(0, rng.uniform(0.5, 4), pixels.shape))


def window(rng: Generator) -> Image.Image:
    """Draw a program's window: bars, panels, buttons, lists, some text."""
    image, ink = sheet(rng, flat=True)
    draw, (width, height) = ImageDraw.Draw(image), image.size
    accent = colour_of(rng)
    draw.rectangle((0, 0, width, 36), fill=accent)
    side = int(width * rng.uniform(0.15, 0.35))
    draw.rectangle((0, 36, side, height), fill=near(image, rng))
    print_words(image, rng, ink, (8, 44, side - 8, height), FONTS, size=14)
    for _ in range(int(rng.integers(2, 9))):
        x, y = int(rng.integers(side, width - 60)), int(rng.integers(40, height - 40))
        box = (x, y, x + int(rng.integers(50, 300)), y + int(rng.integers(20, 120)))
        draw.rounded_rectangle(box, int(rng.integers(0, 12)), fill=near(image, rng), outline=ink)
        print_words(image, rng, ink, (x + 6, y + 4, box[2] - 6, box[3]), FONTS, size=13)
    return image


def shapes(rng: Generator) -> Image.Image:
    """Draw flat shapes over each other, with smooth edges or without, outlined or not."""
    factor = int(rng.integers(1, 4))
    size = size_of(rng)
    image = Image.new("RGB", (size[0] * factor, size[1] * factor), colour_of(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 40))):
        x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
        w, h = rng.uniform(0.03, 0.5, 2) * min(image.size)
        outline = colour_of(rng) if rng.random() < 0.4 else None
        kind, line = rng.integers(3), 2 * factor
        if kind == 0:
            draw.rectangle((x, y, x + w, y + h), fill=colour_of(rng), outline=outline, width=line)
        elif kind == 1:
            draw.ellipse((x, y, x + w, y + h), fill=colour_of(rng), outline=outline, width=line)
        else:
            corners = [(x + w * math.cos(a), y + h * math.sin(a)) for a in rng.uniform(0, 6.28, 5)]
            draw.polygon(corners, fill=colour_of(rng), outline=outline, width=line)
    return image.resize(size, Image.Resampling.BOX)


def drawing(rng: Generator) -> Image.Image:
    """Draw a comic: wobbly areas of flat colour with dark outlines, perhaps with shading."""
    width, height = size_of(rng)
    fields = ndimage.gaussian_filter(
        rng.normal(size=(4, height // 4, width // 4)), (0, *[rng.uniform(4, 14)] * 2)
    )
    levels = np.argmax(ndimage.zoom(fields, (1, 4, 4), order=1), axis=0)
    palette = np.array([colour_of(rng) for _ in range(4)], dtype=float)
    pixels = palette[levels]
    edges = ndimage.maximum_filter(levels, int(rng.integers(2, 6))) != levels
    if rng.random() < 0.4:
        pixels *= np.linspace(0.8, 1.1, pixels.shape[0])[:, None, None]
    pixels[edges] = 20
    return picture(ndimage.gaussian_filter(pixels, (0.5, 0.5, 0)))


def symbol(rng: Generator) -> Image.Image:
    """Set one large sign on a flat ground, as an icon or a logo."""
    image, ink = sheet(rng, flat=True)
    size = int(min(image.size) * rng.uniform(0.3, 0.9))
    sign = SYMBOLS[rng.integers(len(SYMBOLS))]
    middle = (image.width / 2, image.height / 2)
    ImageDraw.Draw(image).text(middle, sign, ink, font=font_of("DejaVuSans", size), anchor="mm")
    return image


def ramp(rng: Generator) -> Image.Image:
    """Fill with one colour, or a straight or round ramp of two."""
    width, height = size_of(rng)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    angle = rng.uniform(0, 6.28)
    along = x * math.cos(angle) + y * math.sin(angle) if rng.random() < 0.6 else np.hypot(x, y)
    share = np.clip((along - along.min()) / max(np.ptp(along), 1e-6), 0, 1)[..., None]
    share = share * (rng.random() > 0.35)  # else flat
    return picture(np.array(colour_of(rng)) * (1 - share) + np.array(colour_of(rng)) * share)


def pattern(rng: Generator) -> Image.Image:
    """Repeat a small tile of few colours, as checks, stripes and codes do."""
    width, height = size_of(rng)
    n, cell = int(rng.integers(2, 30)), int(rng.integers(3, 40))
    palette = np.array([colour_of(rng) for _ in range(int(rng.integers(2, 5)))])
    tile = palette[rng.integers(len(palette), size=(n, n))]
    tile = np.kron(tile, np.ones((cell, cell, 1)))
    repeats = (height // tile.shape[0] + 1, width // tile.shape[1] + 1, 1)
    return picture(np.tile(tile, repeats)[:height, :width])


def static(rng: Generator) -> Image.Image:
    """Fill with noise alone, each channel for itself or all the same, sharp or coarse."""
    width, height = size_of(rng)
    noise = rng.uniform(0, 255, (height, width, 3 if rng.random() < 0.6 else 1))
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, (*[rng.uniform(0.5, 3)] * 2, 0))
        noise = (noise - noise.mean()) / noise.std() * rng.uniform(15, 70) + 128
    return picture(np.broadcast_to(noise, (height, width, 3)))


def field(rng: Generator) -> Image.Image:
    """Colour a smooth field by a palette of a few colours, as maps of heat and height are."""
    width, height = size_of(rng)
    sides = height // 8 + 1, width // 8 + 1
    heights = ndimage.gaussian_filter(rng.normal(size=sides), rng.uniform(1, 8))
    heights = ndimage.zoom(heights, 8, order=1)[:height, :width]
    share = (heights - heights.min()) / np.ptp(heights)
    if rng.random() < 0.4:
        share = np.round(share * (n := int(rng.integers(4, 16)))) / n
    return by_palette(share, rng, int(rng.integers(2, 6)))


def curves(rng: Generator) -> Image.Image:
    """Draw rolling curves in changing colours on a dark or a light ground."""
    image, _ = sheet(rng, flat=True)
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
    image = Image.new(
        "RGB", (side, side), (255, 255, 255) if rng.random() < 0.6 else colour_of(rng)
    )
    low, high = int(side * rng.uniform(0.1, 0.3)), int(side * rng.uniform(0.6, 0.9))
    corner, soft = int((high - low) * rng.uniform(0.05, 0.5)), rng.uniform(0.5, side / 30)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((low, low, high, high), corner, fill=255)
    shadow = Image.fromarray(ndimage.gaussian_filter(np.asarray(mask), soft) // 3)
    image.paste((0, 0, 0), (side // 60, side // 40), shadow)
    fill = Image.linear_gradient("L").resize(image.size).convert("RGB")
    image.paste(Image.blend(fill, Image.new("RGB", image.size, colour_of(rng)), 0.6), (0, 0), mask)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(
        (low, low, high, high), corner, outline=colour_of(rng), width=side // 60 + 1
    )
    sign, middle = SYMBOLS[rng.integers(len(SYMBOLS))], (low + high) / 2
    font = font_of("DejaVuSans", (high - low) // 2)
    draw.text((middle, middle), sign, colour_of(rng), font=font, anchor="mm")
    return image


def turbulence(rng: Generator) -> Image.Image:
    """Colour waves that bend in smooth noise of many sizes, as marble, clouds and fire are made."""
    width, height = size_of(rng)
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
    return by_palette(share, rng, int(rng.integers(2, 8)))


def folded(rng: Generator) -> Image.Image:
    """Colour a plane that is folded, turned and enlarged many times, as kaleidoscopes do."""
    width, height = size_of(rng)
    y, x = np.mgrid[0:height, 0:width]
    place = (x - width / 2 + 1j * (y - height / 2)) * rng.uniform(1, 4) / max(width, height)
    turn, shift = np.exp(1j * rng.uniform(0, 6.28)), rng.uniform(0.2, 0.9)
    nearest = np.full(place.shape, np.inf)
    for _ in range(int(rng.integers(4, 14))):
        place = np.abs(place.real) + 1j * np.abs(place.imag) - shift
        place *= turn * rng.uniform(1.1, 1.8)
        nearest = np.minimum(nearest, np.abs(place))
    size = nearest if rng.random() < 0.5 else np.log1p(np.abs(place))
    share = 0.5 + 0.5 * np.sin(rng.uniform(1, 20) * size + rng.uniform(0, 6.28))
    return by_palette(share, rng, int(rng.integers(2, 8)))


def balls(rng: Generator) -> Image.Image:
    """Render shaded balls with highlights before a ramp or a chequered floor."""
    width, height = size_of(rng)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    pixels = np.linspace(colour_of(rng), colour_of(rng), height)[:, None, :] * np.ones(
        (1, width, 1)
    )
    horizon = int(height * rng.uniform(0.4, 0.8))
    if rng.random() < 0.6:
        depth = 40 / (y[horizon:] - horizon + 1)
        odd = (np.floor((x[horizon:] - width / 2) * depth / 30) + np.floor(6 * depth)) % 2
        pixels[horizon:] = np.where(odd[..., None] > 0, colour_of(rng), colour_of(rng))
    light = np.array([0, -1, 1.5]) + rng.normal(size=3)
    light /= np.linalg.norm(light)
    for _ in range(int(rng.integers(1, 9))):
        radius = rng.uniform(0.05, 0.25) * height
        u, v = (x - rng.uniform(0, width)) / radius, (y - rng.uniform(0, height)) / radius
        inside = u**2 + v**2 < 1
        normal = np.stack([u, v, np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))], -1)
        shade = np.clip(normal @ light, 0, 1)[..., None]
        colour = np.array(colour_of(rng)) * (0.2 + 0.8 * shade) + 255 * shade ** rng.uniform(10, 60)
        pixels[inside] = colour[inside]
    return picture(pixels)


KINDS: Final[dict[str, Graphic]] = {
    "plot": plot, "text": text, "scan": scan, "window": window, "shapes": shapes,
    "drawing": drawing, "symbol": symbol, "ramp": ramp, "pattern": pattern, "static": static,
    "field": field, "curves": curves, "badge": badge, "turbulence": turbulence, "folded": folded,
    "balls": balls, **fractals.KINDS,
}  # fmt: skip
