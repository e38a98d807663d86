"""
Photographs far from those that people rated: other lenses, other sensors, other subjects.

Simulated, from photographs or by code, because rated sets hold none. Two lists that share no code
for a kind: `FOR_TRAINING`, and `FOR_TESTING` to judge with. What is simulated is only like the real
thing: judge on real ones where there are some (`training.familiarity --unusual-in FOLDER`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage, spatial

Float = NDArray[np.float64]
Unusual = Callable[[Image.Image, np.random.Generator], Image.Image]


def fisheye(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bend a photograph into the round image of a fisheye lens, equidistant, on black."""
    side = int(rng.integers(400, 900))
    y, x = _grid(side, side)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    field = rng.uniform(1.1, 1.45)  # half of the field of view, in radians
    # A ray at radius * field from the axis hits a flat photograph at its tangent.
    flat = np.tan(np.clip(radius, 0, 1) * field) / np.tan(field)
    pixels = _sampled(image, flat * np.sin(angle), flat * np.cos(angle))
    edge = np.clip((1 - radius) * side / rng.uniform(2, 30), 0, 1)[..., None]
    return _picture(pixels * edge + rng.uniform(0, 8) * (1 - edge))


def thermal(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show a photograph as a thermal camera would: few pixels, smooth, in false colours."""
    width = int(rng.choice([80, 120, 160, 240, 320]))
    heat = _grey(image, width)
    heat = ndimage.gaussian_filter(heat, rng.uniform(0.7, 2.0)) + rng.normal(0, 0.01, heat.shape)
    if rng.random() < 0.5:
        heat = 1 - heat
    heat = np.clip((heat - heat.min()) / max(np.ptp(heat), 1e-6), 0, 1)
    palette = str(rng.choice(["inferno", "jet", "gnuplot2", "gray", "nipy_spectral", "magma"]))
    small = _picture(255 * matplotlib.colormaps[palette](heat)[..., :3])
    factor = rng.uniform(2, 5)
    size = (round(small.width * factor), round(small.height * factor))
    return small.resize(size, Image.Resampling.BICUBIC)


def stars(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw a night sky: stars of a few pixels with a power law of brightness, sky glow, noise."""
    height, width = int(rng.integers(350, 700)), int(rng.integers(450, 1000))
    light = np.zeros((height, width, 3))
    n = int(10 ** rng.uniform(2, 3.7))
    flux = np.minimum(rng.pareto(1.3, n) + 0.2, 80)
    colour = np.clip(rng.normal(1, 0.15, (n, 3)), 0.5, 1.5)
    places = rng.integers(height, size=n), rng.integers(width, size=n)
    np.add.at(light, places, flux[:, None] * colour)
    light = ndimage.gaussian_filter(light, (*[rng.uniform(0.6, 1.5)] * 2, 0))
    cloud = ndimage.gaussian_filter(rng.normal(size=(height // 8 + 1, width // 8 + 1)), 8)
    cloud = ndimage.zoom(np.abs(cloud) / np.abs(cloud).max(), 8, order=1)[:height, :width, None]
    sky = rng.uniform(2, 30) * np.array([rng.uniform(0.5, 1), rng.uniform(0.6, 1), 1])
    light = sky * (0.4 + cloud) + light * rng.uniform(60, 300)
    return _picture(light + rng.normal(0, rng.uniform(1, 8), light.shape))


def brightfield(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw cells under a microscope in bright light: a pale ground, stained round bodies."""
    height, width = int(rng.integers(380, 700)), int(rng.integers(480, 900))
    stain = np.array([rng.uniform(0.1, 0.5), rng.uniform(0.4, 0.9), rng.uniform(0.05, 0.4)])
    if rng.random() < 0.3:
        stain[:] = rng.uniform(0.3, 0.6)  # unstained: grey
    depth = _blobs(height, width, rng, n=int(rng.integers(20, 250)), size=rng.uniform(0.01, 0.05))
    depth += 0.4 * _blobs(height, width, rng, n=150, size=0.006)
    depth = ndimage.gaussian_filter(depth, rng.uniform(0.6, 2.5))
    y, x = _grid(height, width)
    light = rng.uniform(200, 245) * (1 - rng.uniform(0, 0.35) * (x**2 + y**2) / 2)
    pixels = light[..., None] * np.exp(-depth[..., None] * stain * rng.uniform(0.8, 2.5))
    return _picture(pixels + rng.normal(0, rng.uniform(0.5, 3), pixels.shape))


def fluorescence(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw glowing cells on black, in one to three colours."""
    height, width = int(rng.integers(380, 700)), int(rng.integers(480, 900))
    pixels = np.zeros((height, width, 3))
    for _ in range(int(rng.integers(1, 4))):
        glow = _blobs(
            height, width, rng, n=int(rng.integers(10, 120)), size=rng.uniform(0.01, 0.05)
        )
        glow = ndimage.gaussian_filter(glow, rng.uniform(1, 5))
        colour = rng.dirichlet([0.3, 0.3, 0.3])
        pixels += 255 * rng.uniform(0.4, 1.2) * glow[..., None] * colour
    return _picture(pixels + rng.normal(0, rng.uniform(1, 8), pixels.shape))


def eyepiece(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show a photograph through a tube: a round field with a soft edge in the dark."""
    pixels = np.asarray(image, dtype=np.float64)
    y, x = _grid(*pixels.shape[:2])
    aspect = pixels.shape[1] / pixels.shape[0]
    radius = np.hypot((x + rng.uniform(-0.15, 0.15)) * aspect, y + rng.uniform(-0.15, 0.15))
    inside = np.clip((rng.uniform(0.6, 0.95) - radius) / rng.uniform(0.01, 0.2), 0, 1)[..., None]
    return _picture(pixels * inside + rng.uniform(0, 12) * (1 - inside))


def radiograph(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show a photograph as a negative without colour, soft and flat, as X-ray films are."""
    grey = 1 - _grey(image, int(rng.integers(400, 800)))
    grey = ndimage.gaussian_filter(grey, rng.uniform(1, 4)) ** rng.uniform(1.2, 3)
    grey += rng.normal(0, rng.uniform(0.003, 0.02), grey.shape)
    return _picture(255 * np.repeat(grey[..., None], 3, -1))


FOR_TRAINING: Final[dict[str, Unusual]] = {
    "fisheye": fisheye, "thermal": thermal, "stars": stars, "brightfield": brightfield,
    "fluorescence": fluorescence, "eyepiece": eyepiece, "radiograph": radiograph,
}  # fmt: skip


def planet(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Wrap a photograph round a small planet, a stereographic view of a panorama."""
    side = int(rng.integers(450, 800))
    y, x = np.mgrid[-1.3 : 1.3 : side * 1j, -1.3 : 1.3 : side * 1j]
    latitude = 2 * np.arctan(np.hypot(x, y)) - np.pi / 2
    return _picture(_sampled(image, -2 * latitude / np.pi, np.arctan2(y, x) / np.pi))


def infrared(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Map tones of a coarse copy to other palettes, with the camera's scale at the side."""
    small = ImageOps.autocontrast(image.convert("L").resize((96, 72), Image.Resampling.BOX))
    grey = np.asarray(small.resize((640, 480), Image.Resampling.BILINEAR)) / 255
    palette = matplotlib.colormaps[str(rng.choice(["hot", "plasma", "rainbow", "afmhot", "bone"]))]
    pixels = 255 * palette(grey)[..., :3]
    scale = 255 * palette(np.linspace(1, 0, 400))[:, None, :3]
    pixels[40:440, 600:620] = scale
    return _picture(pixels + rng.normal(0, 2, pixels.shape))


def galaxy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw a spiral galaxy and stars with spikes, counted photon by photon."""
    height, width = 480, 640
    y, x = _grid(height, width)
    tilt, turn = rng.uniform(0.4, 1), rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / tilt
    radius, angle = np.hypot(u, v) + 1e-3, np.arctan2(v, u)
    arms = 1 + 0.8 * np.cos(2 * angle - rng.uniform(4, 9) * np.log(radius))
    light = rng.uniform(40, 150) * np.exp(-radius / rng.uniform(0.1, 0.35)) * arms
    pixels = light[..., None] * np.array([1.1, 1.0, rng.uniform(0.8, 1.3)]) + rng.uniform(2, 10)
    for _ in range(int(rng.integers(20, 200))):
        row, column = int(rng.integers(8, height - 8)), int(rng.integers(8, width - 8))
        reach, flux = int(rng.integers(1, 8)), rng.uniform(20, 250)
        pixels[row - reach : row + reach + 1, column] += flux / 2
        pixels[row, column - reach : column + reach + 1] += flux / 2
        pixels[row - 1 : row + 2, column - 1 : column + 2] += flux
    return _picture(rng.poisson(np.clip(pixels, 0, 255)).astype(float))


def tissue(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw stained tissue: cells side by side in pink, nuclei in violet, fibres between them."""
    height, width = 480, 640
    points = rng.uniform(0, 1, (int(rng.integers(150, 900)), 2)) * (height, width)
    near, cell = spatial.KDTree(points).query(np.moveaxis(np.mgrid[0:height, 0:width], 0, -1), k=2)
    wall = np.clip((near[..., 1] - near[..., 0]) / 3, 0, 1)[..., None]
    nucleus = np.clip((rng.uniform(3, 8, len(points))[cell[..., 0]] - near[..., 0]) / 2, 0, 1)
    pink = np.array([225, 160, 195]) + rng.normal(0, 10, (len(points), 3))[cell[..., 0]]
    pixels = pink * wall + np.array([245, 225, 238]) * (1 - wall)
    pixels += nucleus[..., None] * (np.array([95, 60, 140]) - pixels)
    pixels = ndimage.gaussian_filter(pixels, (0.8, 0.8, 0))
    return _picture(pixels + 5 * ndimage.gaussian_filter(rng.normal(size=pixels.shape), 1.0))


def ultrasound(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show a photograph as speckle in a sector, as an ultrasound probe does."""
    side = 512
    y, x = np.mgrid[0 : 1 : side * 1j, -0.6 : 0.6 : side * 1j]
    depth, angle = np.hypot(x, y), np.arctan2(x, y)
    echo = _sampled(image, 2 * depth - 1, angle / 0.6).mean(-1)
    speckle = ndimage.gaussian_filter(rng.normal(size=(side, side, 2)), (1.0, 2.0, 0))
    light = echo * np.linalg.norm(speckle, axis=-1) * 4 * np.exp(-1.2 * depth)
    light[(np.abs(angle) > 0.6) | (depth > 0.98) | (depth < 0.08)] = 0
    return _picture(np.repeat(light[..., None], 3, -1))


FOR_TESTING: Final[dict[str, Unusual]] = {
    "planet": planet, "infrared": infrared, "galaxy": galaxy, "tissue": tissue,
    "ultrasound": ultrasound,
}  # fmt: skip


def _grid(height: int, width: int) -> tuple[Float, Float]:
    """Return y and x of each pixel, from -1 to 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return y, x


def _sampled(image: Image.Image, y: Float, x: Float) -> Float:
    """Look up a photograph at places from -1 to 1, bilinearly; beyond its edges it is mirrored."""
    pixels = np.asarray(image, dtype=np.float64)
    height, width = pixels.shape[:2]
    places = [(y + 1) / 2 * (height - 1), (x + 1) / 2 * (width - 1)]
    found = [
        ndimage.map_coordinates(pixels[..., c], places, order=1, mode="mirror") for c in range(3)
    ]
    return np.stack(found, -1)


def _grey(image: Image.Image, width: int) -> Float:
    """Return the tones of a copy of a width, from 0 to 1."""
    height = max(32, round(width * image.height / image.width))
    small = image.convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


def _blobs(height: int, width: int, rng: np.random.Generator, n: int, size: float) -> Float:
    """Return how deep round bodies lie over each other, each with a kernel of its own."""
    depth = np.zeros((height, width))
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(n):
        radius = max(2.0, size * width * rng.uniform(0.5, 1.5))
        top, left = rng.uniform(0, height), rng.uniform(0, width)
        reach = int(2 * radius) + 2
        part = (
            slice(max(0, int(top) - reach), int(top) + reach),
            slice(max(0, int(left) - reach), int(left) + reach),
        )
        flat, turn = rng.uniform(0.5, 1), rng.uniform(0, np.pi)
        y, x = rows[part] - top, columns[part] - left
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        distance = np.hypot(along, across / flat) / radius
        depth[part] += 0.5 * (distance < 1) + 0.6 * (distance < rng.uniform(0.2, 0.5))
    return depth


def _picture(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
