"""Pictures of a classifier for people: confusion, reliability, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.measure.classification import confusion as confusion_of

CELLS_WITH_NUMBERS = 15
"""With more classes than this a number in each cell cannot be read."""


def confusion(
    outputs: NDArray[np.float64],
    target: NDArray[np.float64],
    title: str,
    names: Sequence[str] = (),
) -> Figure:
    """
    Plot what share of each true class is taken for which.

    Args:
        outputs: Shape (N, K), probabilities.
        target: Shape (N,), numbers of classes.
        title: Of the plot.
        names: Of the classes; numbers without them.
    """
    counts = confusion_of(outputs, target)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(counts)
    side = min(3 + 0.45 * k, 12)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if k <= CELLS_WITH_NUMBERS:
        for row, column in np.ndindex(k, k):
            if counts[row, column]:
                colour = "white" if share[row, column] > 0.5 else "black"
                axes.text(
                    column, row, str(counts[row, column]),
                    ha="center", va="center", fontsize=8, color=colour,
                )  # fmt: skip
    ticks = [str(name) for name in (names or range(k))]
    size = 9 if k <= CELLS_WITH_NUMBERS else 4
    axes.set_xticks(range(k), ticks, rotation=90, fontsize=size)
    axes.set_yticks(range(k), ticks, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}, {len(target)} images")
    figure.colorbar(shown, label="share of the true class", shrink=0.8)
    return figure


def reliability(rows_of: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Plot accuracy against confidence; on the diagonal, a confidence is what it says."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for name, rows in rows_of.items():
        x = [row["confidence"] for row in rows]
        axes.plot(x, [row["accuracy"] for row in rows], "o-", markersize=4, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title="reliability")
    axes.set(xlabel="mean confidence of the bin", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def images(pixels: Sequence[NDArray[np.uint8]], captions: Sequence[str], title: str) -> Figure:
    """Show some images, (H, W, C), with a caption each."""
    columns = min(5, max(len(pixels), 1))
    rows = max(-(-len(pixels) // columns), 1)
    figure = Figure(figsize=(2.4 * columns, 2.6 * rows + 0.4), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.axis("off")
        if place < len(pixels):
            image = pixels[place]
            axes.imshow(
                image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255
            )
            axes.set_title(captions[place], fontsize=8)
    figure.suptitle(title)
    return figure
