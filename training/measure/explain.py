"""
Two explanations of an answer side by side: the map of the network, and occlusion by Captum.

For `training.evaluate --explain`; no ratings or labels are needed. The map is exact for the
network: its mean is the logit. Occlusion asks another question, what a score loses when a place is
blurred, or a class when it is covered, and takes some 50 to 120 passes a picture; that it points
to the same places is a second opinion, not a proof. For scores, damage put into half of each
picture is a third one: there the answer is known.
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
from iqa.network.checkpoint import Card, policy_of
from iqa.network.logit_map import LogitMap
from iqa.network.logit_map_overlay import overlay, share_px
from iqa.network.runtime import Runtime
from iqa.tasks.classes import SMALLEST, class_names_of
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
COVERED: Final = 4
"""A window that covers a part of a class has this part of the shorter side."""
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
        answer: The network's quality in points, or its class.
        pixels: uint8, (H, W, C).
        found: The map, exact.
        occluded: Shape of the map; by how much the logit falls when a place is hidden.
        rank_correlation: Rank correlation of the two, over the places.
    """

    name: str
    answer: str
    pixels: NDArray[np.uint8]
    found: LogitMap
    occluded: Map
    rank_correlation: float


def explain(runtime: Runtime, card: Card, folder: Path, out: Path, limit: int | None) -> int:
    """
    Explain pictures; print and write what was found.

    Args:
        runtime: With the network.
        card: Of the network.
        folder: Folder of images.
        out: File of the figures; the page (.jpg) and the tables (.md) are written beside it.
        limit: The first so many pictures.

    Returns:
        0, the command's exit status.

    Raises:
        FileNotFoundError: The folder holds no picture.
        ImageRejected: The network has no map.
    """
    policy = policy_of(card)
    names = class_names_of(card) if "class_names" in card else None
    bodies = dict(list(read_pictures(folder, "--explain").items())[:limit])
    pictures = {name: decode(body, NO_LIMITS, policy).pixels() for name, body in bodies.items()}
    examples = []
    shown = _with_damage(pictures) if names is None else iter(pictures.items())
    for name, pixels in tqdm(shown, total=len(pictures), unit="picture"):
        found = runtime.logit_map(pixels)
        occluded = occlusion(runtime, pixels, found)
        correlation = stats.spearmanr(found.logits.ravel(), occluded.ravel()).statistic
        examples.append(
            Example(
                name=name, answer=_answer(found, names), pixels=pixels, found=found,
                occluded=occluded, rank_correlation=float(correlation),
            )
        )  # fmt: skip
    damage = [] if names else [found_damage(runtime, pictures, kind) for kind in DAMAGES]
    correlations = [example.rank_correlation for example in examples]
    report = {
        "rank_correlation": {example.name: example.rank_correlation for example in examples},
        "rank_correlation_median": float(np.median(correlations)),
        "damage": damage,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    page(examples).savefig(out.with_suffix(".jpg"), dpi=110, pil_kwargs={"quality": 80})
    table = _markdown(examples, damage, "network's quality" if names is None else "class")
    out.with_suffix(".md").write_text(table)
    print(f"{table}\nwritten: {out}, {out.with_suffix('.jpg')}, {out.with_suffix('.md')}")
    return 0


def occlusion(runtime: Runtime, pixels: NDArray[np.uint8], found: LogitMap) -> Map:
    """
    Measure by how much the logit falls when a window is hidden, window by window.

    For a score the window is blurred a little; for a class it is covered with the colour of the
    picture's border.

    Args:
        runtime: With the network.
        pixels: uint8, (H, W, C).
        found: The map of these pixels; the same output is measured.

    Returns:
        Shape of the map: the mean over the windows that cover a place; positive where what is
        there lifts the output.
    """
    from captum.attr import Occlusion  # here, because all else of training.evaluate does without

    def logits(pixels_NHWC: Tensor) -> Tensor:
        outputs = runtime.outputs(pixels_NHWC.byte().numpy()).astype(np.float64)
        return torch.from_numpy(_logit(outputs, found.output))

    height, width, n_channels = pixels.shape
    rows, columns = found.logits.shape
    if found.outputs.ndim == 0:
        window_px = WINDOW_PX
        hidden = np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR_PX)))
    else:
        window_px = max(1, min(height, width) // COVERED)
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        hidden = np.broadcast_to(np.median(np.concatenate(edges), axis=0), pixels.shape).round()
    strides = (round(share_px(height, rows)), round(share_px(width, columns)))
    attributed = Occlusion(logits).attribute(
        torch.from_numpy(pixels.copy())[None].double(),  # whole numbers, which survive its masks
        sliding_window_shapes=(window_px, window_px, n_channels),
        strides=(*(min(stride, window_px) for stride in strides), n_channels),
        baselines=torch.from_numpy(hidden.copy())[None].double(),
    )
    return _at_places(attributed[0].mean(dim=2).numpy(), rows, columns)


def _logit(outputs: Map, output: int) -> Map:
    """Return what a map's mean is, (N,), of outputs (N,) or (N, K)."""
    if outputs.ndim == 1:
        return np.asarray(np.log(outputs / (1 - outputs)))
    logits = np.log(np.maximum(outputs, SMALLEST))
    return np.asarray(logits[:, output] - logits.mean(axis=1))


def _answer(found: LogitMap, names: list[str] | None) -> str:
    if names is None:
        return f"{100 * float(found.outputs):.1f}"
    return f"{names[found.output]} {found.outputs[found.output]:.2f}"


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
        change = runtime.logit_map(damaged).logits - runtime.logit_map(pixels).logits
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
        spread = example.found.logits.std() / max(float(example.occluded.std()), 1e-9)
        # In another unit than the map: only its shape can be compared.
        occluded = LogitMap(outputs=example.found.outputs, logits=example.occluded * spread)
        drawn = [
            (_coloured(example.pixels), example.name),
            (overlay(example.pixels, example.found), f"map, {example.answer}"),
            (overlay(example.pixels, occluded), f"occlusion, {example.rank_correlation:+.2f}"),
        ]
        for place, (image, title) in enumerate(drawn):
            axes = grid[row, 3 * column + place]
            axes.imshow(image)
            axes.set_title(title, fontsize=8)
    return figure


def _with_damage(
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


def _coloured(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _at_places(values_HW: Map, rows: int, columns: int) -> Map:
    """Average pixels over the share of each place of the map, which is centred on its first."""
    height, width = values_HW.shape
    down, right = share_px(height, rows), share_px(width, columns)

    def pixels(place: int, share: float) -> slice:
        return slice(max(0, round((place - 0.5) * share)), max(1, round((place + 0.5) * share)))

    return np.array(
        [
            [values_HW[pixels(r, down), pixels(c, right)].mean() for c in range(columns)]
            for r in range(rows)
        ]
    )


def _markdown(examples: list[Example], damage: list[dict[str, Any]], answer: str) -> str:
    lines = [f"| picture | {answer} | rank correlation |", "|---|---|---|"]
    for example in examples:
        lines.append(f"| {example.name} | {example.answer} | {example.rank_correlation:+.2f} |")
    if not damage:
        return "\n".join(lines) + "\n"
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
