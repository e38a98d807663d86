"""
Images of one line of text, printed or handwritten, drawn with fonts: for `training.demo_data`.

Paper, ruled lines, ink, noise, blur and JPEG are drawn from the same distributions for both kinds,
so none of them tells the kind. What does: the font's design, and the hand, which never draws a
letter twice alike; print is at most a little curled and askew.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from training.data.fonts import HANDWRITTEN, Font

WIDTH_PX: Final = 1024
HEIGHT_PX: Final = 256
Float = NDArray[np.float32]

# Strings, split where they are used: as lists they are pages long.
WORDS: Final = (
    "the of and to in was that he is his it with as for had you on be at by her not this are "
    "have but from they she which or we an were there been one all their has would what will if "
    "house letter river Monday garden church mother paper winter money village water evening "
    "received honour because morning sister harvest journey between against October Anna William"
)
SYLLABLES: Final = (
    "ba be co da de el en fa ga gra hi in ka la le lo ma mi mor na ne no o pa per qua ra re ri sa "
    "se sta ta te ti tu u va vi wen xa yo za"
)
CAPITALS_SHARE: Final = 0.15
ENDS: Final = (".", ",", ",", ";", ":", "!", "?", "")


@dataclass(frozen=True, kw_only=True)
class Hand:
    """
    How regularly a line is drawn; lengths are shares of the letters' size.

    Attributes:
        baseline: Standard deviation of a word's height above the line.
        letter: Standard deviation of a letter's height above that of its word, and of its size.
        wobble: Of the displacement of a point against its neighbours a letter away.
        curl: Of the slow displacement along the line.
        slant: Largest tangent of the angle by which upright strokes lean.
        spacing: Standard deviation of the gap between words.
    """

    baseline: float
    letter: float
    wobble: float
    curl: float
    slant: float
    spacing: float


PRESS: Final = Hand(baseline=0.0, letter=0.0, wobble=0.0, curl=0.02, slant=0.03, spacing=0.0)
PEN: Final = Hand(baseline=0.05, letter=0.03, wobble=0.045, curl=0.1, slant=0.4, spacing=0.1)


def draw_line(font: Font, rng: np.random.Generator) -> Image.Image:
    """
    Draw a line of text.

    Args:
        font: Its kind says whether a press or a pen draws.
        rng: Chooses text, size, slant, ink, paper, noise, blur.

    Returns:
        Mode L, `WIDTH_PX` x `HEIGHT_PX`.
    """
    hand = PEN if font.kind == HANDWRITTEN else PRESS
    size_px = int(rng.integers(44, 116))
    ink = _bent(_words(font, size_px, hand, rng), size_px, hand, rng)
    paper = _paper(rng)
    tone = rng.uniform(10, 0.62 * float(paper.mean()))
    ink *= np.clip(1 - 0.35 * rng.random() * _smooth_noise(6, rng), 0, 1)
    pixels = paper + (tone - paper) * ink
    pixels += rng.normal(0, rng.uniform(0, 11), pixels.shape)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.8)))


def jpeg_of(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Return an image as a JPEG of random quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(40, 96)))
    return file.getvalue()


def _text(rng: np.random.Generator) -> str:
    """Return a word, a made-up one, or a number."""
    draw = rng.random()
    if draw < 0.08:
        return str(rng.integers(1, 2000))
    if draw < 0.6:
        word = str(rng.choice(WORDS.split()))
    else:
        word = "".join(str(part) for part in rng.choice(SYLLABLES.split(), rng.integers(2, 5)))
    if rng.random() < 0.2:
        word = word.capitalize()
    return word + (str(rng.choice(ENDS)) if rng.random() < 0.15 else "")


def _words(font: Font, size_px: int, hand: Hand, rng: np.random.Generator) -> Image.Image:
    """Return the ink of words set one after another until the line is full, white on black."""
    face = ImageFont.truetype(font.path, size_px)
    # Fonts fill their size differently: the letter x is made equally high in all.
    _, top, _, bottom = face.getbbox("x")
    wanted_px = 0.5 * size_px
    face = face.font_variant(size=size_px * min(2.0, wanted_px / max(1, bottom - top)))
    canvas = Image.new("L", (WIDTH_PX, HEIGHT_PX))
    draw = ImageDraw.Draw(canvas)
    is_capitals = rng.random() < CAPITALS_SHARE
    start_px = rng.uniform(0.005, 0.12) * WIDTH_PX
    end_px = rng.uniform(0.6, 1.02) * WIDTH_PX
    baseline_px = HEIGHT_PX * rng.uniform(0.52, 0.68)
    x_px = start_px
    while x_px < end_px:
        word = _text(rng).upper() if is_capitals else _text(rng)
        width_px = face.getlength(word)
        if x_px > start_px and x_px + width_px > 1.02 * WIDTH_PX:
            break
        y_px = baseline_px + rng.normal(0, 1) * hand.baseline * size_px
        if hand.letter:
            _write(draw, (x_px, y_px), word, face, hand.letter, rng)
        else:
            draw.text((x_px, y_px), word, font=face, fill=255, anchor="ls")
        gap_px = (0.3 + rng.normal(0, 1) * hand.spacing) * size_px
        x_px += width_px + max(0.12 * size_px, gap_px)
    return canvas


def _write(
    draw: ImageDraw.ImageDraw,
    place_px: tuple[float, float],
    word: str,
    face: ImageFont.FreeTypeFont,
    letter: float,
    rng: np.random.Generator,
) -> None:
    """Draw a word letter by letter, each a little higher or lower, larger or smaller."""
    x_px, y_px = place_px
    for index, character in enumerate(word):
        higher, larger = letter * rng.standard_normal(2)
        draw.text(
            (x_px + face.getlength(word[:index]), y_px + higher * face.size),
            character,
            font=face.font_variant(size=face.size * (1 + larger)),
            fill=255,
            anchor="ls",
        )


def _bent(mask: Image.Image, size_px: int, hand: Hand, rng: np.random.Generator) -> Float:
    """Return the ink in [0, 1], leaning, turned by up to a degree, displaced by the hand."""
    ink = np.asarray(mask, dtype=np.float32) / 255
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    slant = rng.uniform(-hand.slant / 3, hand.slant)
    turn = np.tan(np.radians(rng.uniform(-1.2, 1.2)))
    middle, across = rows - 0.6 * HEIGHT_PX, columns - WIDTH_PX / 2
    columns = columns + slant * middle
    rows = rows + turn * across
    for amount, share in ((hand.curl, 2.5), (hand.wobble, 0.3)):
        if amount:
            rows = rows + amount * size_px * _smooth_noise(share * size_px, rng)
            columns = columns + amount * size_px * _smooth_noise(share * size_px, rng)
    moved: Float = ndimage.map_coordinates(ink, [rows, columns], order=1, mode="constant")
    return moved


def _paper(rng: np.random.Generator) -> Float:
    """Return a tone with a gradient, stains, perhaps a ruled line: float32, 0-255."""
    rows, columns = np.mgrid[0 : 1 : HEIGHT_PX * 1j, -1 : 1 : WIDTH_PX * 1j].astype(np.float32)
    tone = rng.uniform(165, 250)
    tones = tone + rng.normal(0, 6) * columns + rng.normal(0, 6) * rows
    tones = (
        tones
        + rng.uniform(0, 6) * _smooth_noise(40, rng)
        + rng.uniform(0, 3) * _smooth_noise(3, rng)
    )
    if rng.random() < 0.3:
        place = int(HEIGHT_PX * rng.uniform(0.62, 0.8))
        tones[place : place + int(rng.integers(2, 4))] *= rng.uniform(0.65, 0.9)
    paper: Float = tones.astype(np.float32)
    return paper


def _smooth_noise(length_px: float, rng: np.random.Generator) -> Float:
    """Return noise of mean 0 and deviation about 1 that varies over a length: float32, (H, W)."""
    shape = (max(2, round(HEIGHT_PX / length_px) + 1), max(2, round(WIDTH_PX / length_px) + 1))
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC))
