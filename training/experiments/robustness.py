"""
A model's scores of changed pictures: made, summed up, written.

Every variant is scored as a file, through the serving path: `iqa`'s decode, preprocess and runtime.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from iqa.imaging import colour
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import DEFAULT, Policy
from iqa.network import checkpoint
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime
from iqa.tasks.score_scales import ScoreScale
from PIL import Image, ImageOps
from tqdm import tqdm

from training.data.distortions import DISTORTIONS, LEVELS
from training.data.images import NO_LIMITS
from training.data.photographs import read_pictures
from training.experiments.robustness_table import markdown, summary
from training.experiments.variants import CHANGES, KINDS, PictureScores, bmp
from training.graph.export import export_onnx
from training.measure import plots
from training.registry.load_model import load_model


def measure(model: str, folder: Path | None, out: Path, *, tolerance: float, seed: int) -> None:
    """
    Score the variants of pictures; print and write what the scores do.

    Args:
        model: As `load_model` takes it.
        folder: Folder of photographs; None for those that installed packages ship.
        out: File of the figures; the table (.md) and the plot (.png) are written beside it.
        tolerance: Points that a worse picture may gain and still count as ordered.
        seed: Seed of the noise.

    Raises:
        ValueError: There is no such model, or a picture cannot be scored.
        FileNotFoundError: The folder holds no picture.
    """
    network, card = load_model(model)
    pictures = read_pictures(folder)
    scores = score_pictures(
        network, ScoreScale.of_card(card), pictures, seed, checkpoint.policy_of(card)
    )
    report = {
        "backbone": card["architecture"]["backbone"],
        "weights_sha256": card["weights_sha256"],
        "seed": seed,
        **summary(scores, tolerance),
    }
    _write(report, out)


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
            levels[kind].append(score(bmp(DISTORTIONS[kind](image, level, rng))))
    changes = {name: score(change(image)) for name, change in CHANGES.items()}
    return PictureScores(levels=levels, changes=changes)


def _full_picture(body: bytes) -> Image.Image:
    """Return a picture that `decode` has accepted; `decode` itself may leave out resolution."""
    with Image.open(io.BytesIO(body)) as file:
        return colour.to_srgb(ImageOps.exif_transpose(file), [])


def _write(report: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    table = markdown(report)
    out.with_suffix(".md").write_text(table)
    plots.scores_by_level(
        {kind: row["mean_score"] for kind, row in report["distortions"].items()},
        f"{report['backbone']}, {report['pictures']} pictures",
    ).savefig(out.with_suffix(".png"), dpi=120)
    print(table)
    print(f"written: {out}, {out.with_suffix('.md')}, {out.with_suffix('.png')}")
