"""
Variants of a picture, worse in steps or the same to a person, and their scores.

For `training.robustness`, which sums them up. Every variant is scored as a file, through the
serving path: `iqa`'s decode, preprocess and runtime.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from iqa.imaging import colour
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import DEFAULT, Policy
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime
from iqa.tasks.score_scales import ScoreScale
from PIL import Image, ImageOps
from tqdm import tqdm

from training.data.distortions import DISTORTIONS, LEVELS
from training.data.images import NO_LIMITS
from training.graph.export import export_onnx

KINDS: Final = ("gaussian_blur", "white_noise", "jpeg", "rescale", "brighten", "darken")
"""Of `training.data.distortions`, where the strength of each level is written. Brighten and darken
are the exposure: whether more of them is worse depends on the picture."""


@dataclass(frozen=True, kw_only=True)
class PictureScores:
    """
    One picture's scores, in points.

    Attributes:
        levels: By kind of distortion: the original first, then level 1 to 5.
        changes: By name of a change that leaves the quality as it was.
    """

    levels: dict[str, list[float]]
    changes: dict[str, float]

    @property
    def original(self) -> float:
        """Score of the unchanged picture."""
        return self.levels[KINDS[0]][0]


def _bmp(image: Image.Image) -> bytes:
    # Lossless, and quicker to write and to read than PNG.
    return _file(image, "BMP")


def _resized(image: Image.Image, factor: float) -> bytes:
    size = (round(image.width * factor), round(image.height * factor))
    return _bmp(image.resize(size, Image.Resampling.LANCZOS))


CHANGES: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    "mirrored": lambda image: _bmp(ImageOps.mirror(image)),
    "jpeg_95": lambda image: _file(image, "JPEG", quality=95),
    "half_size": lambda image: _resized(image, 0.5),
    "double_size": lambda image: _resized(image, 2.0),
}
"""What a person would call the same picture, as the file that would be sent."""


def score_pictures(
    network: Network,
    scale: ScoreScale,
    pictures: dict[str, bytes],
    seed: int = 0,
    policy: Policy = DEFAULT,
) -> dict[str, PictureScores]:
    """
    Score every variant of every picture with the exported graph, as the server does on a CPU.

    Args:
        network: In evaluation mode, on the CPU.
        scale: The score scale of the network's card.
        pictures: Files by name.
        seed: Seed of the noise; every image has noise of its own.
        policy: How an image becomes the network's input.

    Raises:
        ValueError: A picture, or its half size, cannot be scored; names it.
    """
    with tempfile.TemporaryDirectory() as directory:
        export_onnx(network, Path(directory) / GRAPH_FILE)
        runtime = OpenVINORuntime(Path(directory) / GRAPH_FILE, threads=os.cpu_count() or 1)

        def score(body: bytes) -> float:
            pixels = decode(body, NO_LIMITS, policy).pixels()
            return scale.score(float(runtime.outputs(pixels[None])[0]))

        scores = {}
        for index, (name, body) in enumerate(tqdm(pictures.items(), unit="picture")):
            try:
                scores[name] = _score_variants(score, body, (seed, index))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return scores


def _score_variants(
    score: Callable[[bytes], float], body: bytes, seed: tuple[int, int]
) -> PictureScores:
    original = score(body)
    image = _full_picture(body)
    levels = {kind: [original] for kind in KINDS}
    for kind in KINDS:
        for level in LEVELS:
            # Levels draw their noise apart: as two pictures would have it.
            rng = np.random.default_rng((*seed, level))
            levels[kind].append(score(_bmp(DISTORTIONS[kind](image, level, rng))))
    changes = {name: score(change(image)) for name, change in CHANGES.items()}
    return PictureScores(levels=levels, changes=changes)


def _full_picture(body: bytes) -> Image.Image:
    """Return a picture that `decode` has accepted; `decode` itself may leave out resolution."""
    with Image.open(io.BytesIO(body)) as file:
        return colour.to_srgb(ImageOps.exif_transpose(file), [])


def _file(image: Image.Image, format_name: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()
