"""
Two explanations of a score side by side: the quality map, and occlusion by Captum.

For `training.evaluate --explain`; no ratings are needed. The map is exact for the network: its
mean is the logit. Occlusion asks another question, what the score loses when a place is blurred,
and takes some 120 passes a picture; that it points to the same places is a second opinion, not a
proof. Damage put into half of each picture is a third one: there the answer is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from iqa.imaging.decoding import decode
from iqa.network.overlay import STRIDE_PX, overlay
from iqa.network.quality_map import QualityMap
from iqa.network.runtime import Runtime
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import stats
from torch import Tensor
from tqdm import tqdm

from training.data.distortions import DISTORTIONS
from training.data.images import NO_LIMITS
from training.data.photographs import read_pictures

# Large and slightly blurred: a window of 64 pixels, or one of grey or heavy blur, passes for
# content (a smooth thing, a blurred background) and can lift the score. Chosen on two photographs.
WINDOW_PX: Final = 128
BLUR_PX: Final = 2
DAMAGES: Final = ("gaussian_blur", "white_noise", "jpeg")
DAMAGE_LEVEL: Final = 3
EXAMPLES_A_ROW: Final = 2

Map = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Example:
    """
    One picture, explained twice.

    Attributes:
        name: Name of the file, and what was done to its right half.
        pixels: uint8, (H, W, 3).
        quality_map: Exact.
        occluded: Shape of the map; by how much the logit falls when a place is blurred away.
        rank_correlation: Rank correlation of the two, over the places.
    """

    name: str
    pixels: NDArray[np.uint8]
    quality_map: QualityMap
    occluded: Map
    rank_correlation: float


def explain(runtime: Runtime, folder: Path, out: Path, limit: int | None) -> int:
    """
    Explain pictures; print and write what was found.

    Args:
        runtime: With the network.
        folder: Folder of images.
        out: File of the figures; the page (.jpg) and the tables (.md) are written beside it.
        limit: The first so many pictures.

    Returns:
        0, the command's exit status.

    Raises:
        FileNotFoundError: The folder holds no picture.
    """
    bodies = dict(list(read_pictures(folder, "--explain").items())[:limit])
    pictures = {name: decode(body, NO_LIMITS).pixels() for name, body in bodies.items()}
    examples = []
    for name, pixels in tqdm(_examples(pictures), total=len(pictures), unit="picture"):
        occluded = occlusion(runtime, pixels)
        found = runtime.quality_map(pixels)
        correlation = stats.spearmanr(found.logits.ravel(), occluded.ravel()).statistic
        examples.append(
            Example(
                name=name, pixels=pixels, quality_map=found, occluded=occluded,
                rank_correlation=float(correlation),
            )
        )  # fmt: skip
    damage = [found_damage(runtime, pictures, kind) for kind in DAMAGES]
    correlations = [example.rank_correlation for example in examples]
    report = {
        "rank_correlation": {example.name: example.rank_correlation for example in examples},
        "rank_correlation_median": float(np.median(correlations)),
        "damage": damage,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    page(examples).savefig(out.with_suffix(".jpg"), dpi=110, pil_kwargs={"quality": 80})
    table = _markdown(examples, damage)
    out.with_suffix(".md").write_text(table)
    print(f"{table}\nwritten: {out}, {out.with_suffix('.jpg')}, {out.with_suffix('.md')}")
    return 0


def occlusion(runtime: Runtime, pixels: NDArray[np.uint8]) -> Map:
    """
    Measure by how much the logit falls when a window is blurred a little, window by window.

    Args:
        runtime: With the network.
        pixels: uint8, (H, W, 3).

    Returns:
        Shape of the quality map: the mean over the windows that cover a place; positive where
        what is there lifts the score.
    """
    from captum.attr import Occlusion  # here, because all else of training.evaluate does without

    def logits(pixels_NHWC: Tensor) -> Tensor:
        quality = runtime.outputs(pixels_NHWC.byte().numpy()).astype(np.float64)
        return torch.from_numpy(np.log(quality / (1 - quality)))

    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR_PX))
    attributed = Occlusion(logits).attribute(
        torch.from_numpy(pixels.copy())[None].double(),  # whole numbers, which survive its masks
        sliding_window_shapes=(WINDOW_PX, WINDOW_PX, 3),
        strides=(STRIDE_PX, STRIDE_PX, 3),
        baselines=torch.from_numpy(np.array(blurred))[None].double(),
    )
    return _at_places(attributed[0].mean(dim=2).numpy())


def found_damage(
    runtime: Runtime, pictures: dict[str, NDArray[np.uint8]], kind: str
) -> dict[str, Any]:
    """
    Damage the right half of each picture and see where the map falls.

    Args:
        runtime: With the network.
        pictures: uint8 (H, W, 3), by name.
        kind: Of `training.data.distortions`.

    Returns:
        `kind`; the mean change of the logit in the third of the places furthest to the right
        (`inside`) and to the left (`outside`); `found`, the share of pictures in which it falls
        further inside.
    """
    changes = []
    for index, pixels in enumerate(pictures.values()):
        damaged = _damaged(pixels, kind, index)
        change = runtime.quality_map(damaged).logits - runtime.quality_map(pixels).logits
        # Places near the border look into both halves.
        third = change.shape[1] // 3
        changes.append((change[:, -third:].mean(), change[:, :third].mean()))
    inside, outside = np.array(changes).T
    return {
        "kind": kind,
        "inside": float(inside.mean()),
        "outside": float(outside.mean()),
        "found": float((inside < outside).mean()),
    }


def page(examples: list[Example]) -> Figure:
    """Draw each picture, its map and its occlusion, several examples a row."""
    rows = -(-len(examples) // EXAMPLES_A_ROW)
    figure = Figure(figsize=(13, 1.75 * rows), layout="constrained")
    grid = figure.subplots(rows, 3 * EXAMPLES_A_ROW, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for index, example in enumerate(examples):
        row, column = divmod(index, EXAMPLES_A_ROW)
        spread = example.quality_map.logits.std() / max(float(example.occluded.std()), 1e-9)
        # In another unit than the map: only its shape can be compared.
        occluded = QualityMap(quality=0.0, logits=example.occluded * spread)
        drawn = [
            (example.pixels, example.name),
            (overlay(example.pixels, example.quality_map), "map"),
            (overlay(example.pixels, occluded), f"occlusion, {example.rank_correlation:+.2f}"),
        ]
        for place, (image, title) in enumerate(drawn):
            axes = grid[row, 3 * column + place]
            axes.imshow(image)
            axes.set_title(title, fontsize=8)
    return figure


def _examples(
    pictures: dict[str, NDArray[np.uint8]],
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the pictures, every second one with its right half damaged."""
    for index, (name, pixels) in enumerate(pictures.items()):
        if index % 2:
            kind = DAMAGES[index // 2 % len(DAMAGES)]
            title = f"{name}, right half: {kind.replace('_', ' ')}"
            yield title, _damaged(pixels, kind, index)
        else:
            yield name, pixels


def _damaged(pixels: NDArray[np.uint8], kind: str, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    worse = np.array(DISTORTIONS[kind](Image.fromarray(pixels), DAMAGE_LEVEL, rng))
    half = pixels.shape[1] // 2
    worse[:, :half] = pixels[:, :half]
    return worse


def _at_places(values_HW: Map) -> Map:
    """Average pixels over the share of each place of the map, which is centred on its first."""
    height, width = values_HW.shape
    half = STRIDE_PX // 2
    rows, columns = -(-height // STRIDE_PX), -(-width // STRIDE_PX)
    return np.array(
        [
            [
                values_HW[
                    max(0, STRIDE_PX * r - half) : STRIDE_PX * r + half,
                    max(0, STRIDE_PX * c - half) : STRIDE_PX * c + half,
                ].mean()
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )


def _markdown(examples: list[Example], damage: list[dict[str, Any]]) -> str:
    lines = ["| picture | network's quality | rank correlation |", "|---|---|---|"]
    for example in examples:
        lines.append(
            f"| {example.name} | {100 * example.quality_map.quality:.1f} "
            f"| {example.rank_correlation:+.2f} |"
        )
    lines += [
        "",
        "| right half damaged by | change of the logit, right third | left third | found |",
        "|---|---|---|---|",
    ]
    for row in damage:
        lines.append(
            f"| {row['kind'].replace('_', ' ')} | {row['inside']:+.2f} | {row['outside']:+.2f} "
            f"| {100 * row['found']:.0f} % |"
        )
    return "\n".join(lines) + "\n"
