"""
What is put over a photograph after it was taken: a camera's line of text, an even frame.

It is sharp whatever the photograph is, and its edges are the steepest of a blurred one: what learns
how sharp a picture is has to see it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS: Final = tuple("ABCDEFGHIKLMNOPRSTUVWabcdefghiklmnoprstu0123456789 :-/")
COLOURS: Final = ((255, 255, 255), (255, 160, 40), (255, 255, 255), (20, 20, 20))
"""White twice, the orange of dates, black."""
TEXT_SHARE: Final = 0.3
FRAME_SHARE: Final = 0.1


def sometimes(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put text over `TEXT_SHARE` of the pictures, a frame around `FRAME_SHARE`, nothing else."""
    drawn = rng.random()
    if drawn < TEXT_SHARE:
        return text(image, rng)
    return frame(image, rng) if drawn < TEXT_SHARE + FRAME_SHARE else image


def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write a line or two of random letters near a corner of an RGB picture; return a copy."""
    image = image.copy()
    height_px = max(9, int(rng.uniform(0.02, 0.06) * image.height))
    words = "".join(rng.choice(LETTERS, int(rng.integers(6, 22))))
    left = rng.choice((0.02, 0.6)) * image.width
    is_above = rng.random() < 0.5
    top = (0.03 if is_above else 0.9) * image.height
    colour = COLOURS[rng.integers(len(COLOURS))]
    font, draw = ImageFont.load_default(height_px), ImageDraw.Draw(image)
    draw.text((left, top), words, fill=colour, font=font)
    if rng.random() < 0.4:
        other = top + (1.2 if is_above else -1.2) * height_px
        draw.text((left, other), words[::-1], fill=colour, font=font)
    return image


def frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cover bands above and below, or at the sides, of an RGB picture with one tone; a copy."""
    pixels = np.array(image)
    tone = (0, 255, int(rng.integers(256)))[rng.integers(3)]
    rows, columns = (int(rng.uniform(0.01, 0.12) * side) for side in pixels.shape[:2])
    which = rng.integers(3)
    if rows and which != 1:
        pixels[:rows] = pixels[-rows:] = tone
    if columns and which != 0:
        pixels[:, :columns] = pixels[:, -columns:] = tone
    return Image.fromarray(pixels)
