"""Fractals by other formulae than the test's: to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from training.data.graphics.sheet import Generator, Graphic, by_palette, colour_of, picture, size_of

Plane = NDArray[np.complex128]
POINTS: Final = 300_000
STEPS: Final = 60
LARGE: Final = 1e6


def roots(rng: Generator) -> Image.Image:
    """Colour each place by the root that Newton's method finds from there, and by its steps."""
    width, height = size_of(rng)
    z = _plane(rng, width, height, rng.uniform(0.5, 4))
    zeros = rng.normal(size=int(rng.integers(3, 7))) + 1j * rng.normal(size=1)
    zeros = zeros * np.exp(2j * np.pi * rng.random(len(zeros)))
    polynomial = np.polynomial.Polynomial.fromroots(zeros)
    slope, step = polynomial.deriv(), rng.uniform(0.7, 1.3)
    steps = np.zeros(z.shape)
    for _ in range(int(rng.integers(12, 30))):
        value, at = polynomial(z), slope(z)
        steps += np.abs(value) > 1e-3
        z = z - step * value / np.where(np.abs(at) < 1e-9, 1e-9, at)
        z[np.abs(z) > LARGE] = LARGE
    nearest = np.argmin(np.abs(z[..., None] - zeros), axis=-1)
    colours = np.array([colour_of(rng) for _ in zeros], dtype=float)
    shade = (1 - steps / max(steps.max(), 1)) ** rng.uniform(0.3, 2)
    return picture(colours[nearest] * shade[..., None])


def attractor(rng: Generator) -> Image.Image:
    """Count where a point goes that jumps by sines and cosines, bright where it is often."""
    width, height = size_of(rng)
    a, b, c, d = rng.uniform(0.8, 2.6, 4) * rng.choice([-1, 1], 4)
    x, y = rng.uniform(-1, 1, (2, 3000))
    visits, settles = np.zeros((height, width)), 20
    reach = 2.2 * rng.uniform(0.6, 1.2)
    for jump in range(settles + POINTS // len(x)):
        x, y = np.sin(a * y) - np.cos(b * x), np.sin(c * x) - np.cos(d * y)
        if jump >= settles:
            column = np.round((x / reach + 1) / 2 * (width - 1)).astype(int)
            row = np.round((y / reach + 1) / 2 * (height - 1)).astype(int)
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            np.add.at(visits, (row[inside], column[inside]), 1)
    visits = ndimage.gaussian_filter(visits, rng.uniform(0, 0.8))
    share = np.log1p(visits) / max(np.log1p(visits.max()), 1e-6)
    return by_palette(share ** rng.uniform(0.5, 1.2), rng, int(rng.integers(2, 6)))


def escape(rng: Generator) -> Image.Image:
    """Colour each place of the plane of parameters by how soon a power of it grows large."""
    width, height = size_of(rng)
    power, is_folded = int(rng.integers(2, 6)), rng.random() < 0.4
    c = _plane(rng, width, height, np.exp(rng.uniform(np.log(0.02), np.log(1.6))))
    edge = np.exp(2j * np.pi * rng.random())  # near the rim, where there is something to see
    c = c + edge * (0.7 if power == 2 else 0.9) * rng.uniform(0.7, 1.1)
    z, steps = np.zeros_like(c), np.zeros(c.shape)
    for _ in range(STEPS):
        if is_folded:
            z = np.abs(z.real) + 1j * np.abs(z.imag)
        z = z**power + c
        is_small = np.abs(z) < 8
        steps += is_small
        z[~is_small] = LARGE ** (1 / power)
    share = (steps / STEPS) ** rng.uniform(0.3, 1)
    if rng.random() < 0.4:
        share = 0.5 + 0.5 * np.sin(rng.uniform(3, 40) * share)
    return by_palette(share, rng, int(rng.integers(2, 8)))


def orbits(rng: Generator) -> Image.Image:
    """
    Colour each place by where a sine, a cosine or a cubic takes it: smooth, and finer and finer.

    By the mean of a wave along the way, or by how close the way comes to a cross.
    """
    width, height = size_of(rng)
    z = _plane(rng, width, height, np.exp(rng.uniform(np.log(0.2), np.log(2.5))))
    c = rng.uniform(0.7, 1.3) * np.exp(2j * np.pi * rng.random())
    ways: tuple[Callable[[Plane], Plane], ...] = (
        lambda z: c * np.sin(z),
        lambda z: c * np.cos(z),
        lambda z: z**3 - c * z + 0.4 * c,
    )
    next_place = ways[rng.integers(3)]
    stripes, is_mean = rng.uniform(1, 6), rng.random() < 0.6
    share, n, closest = np.zeros(z.shape), np.zeros(z.shape), np.full(z.shape, np.inf)
    for _ in range(int(rng.integers(6, 24))):
        z = next_place(z)
        is_small = np.abs(z) < 30
        z[~is_small] = 30
        share += is_small * (0.5 + 0.5 * np.sin(stripes * np.angle(z)))
        closest = np.minimum(closest, np.minimum(np.abs(z.real), np.abs(z.imag)))
        n += is_small
    share = share / np.maximum(n, 1) if is_mean else np.exp(-rng.uniform(2, 12) * closest)
    share = (share - share.min()) / max(np.ptp(share), 1e-6)
    if rng.random() < 0.5:
        share = 0.5 + 0.5 * np.sin(rng.uniform(4, 25) * share)
    return by_palette(share, rng, int(rng.integers(2, 7)))


KINDS: Final[dict[str, Graphic]] = {
    "roots": roots, "attractor": attractor, "escape": escape, "orbits": orbits,
}  # fmt: skip


def _plane(rng: Generator, width: int, height: int, half: float) -> Plane:
    """Return a part of the complex plane, turned: complex, (height, width)."""
    y, x = np.mgrid[0:height, 0:width]
    turned = np.exp(2j * np.pi * rng.random())
    return ((x - width / 2) + 1j * (y - height / 2)) * turned * 2 * half / max(width, height)
