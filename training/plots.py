"""Pictures of a run for people: predictions against ratings, the course of training."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def predicted_against_rated(
    quality: NDArray[np.float64], target: NDArray[np.float64], title: str
) -> Figure:
    """
    Plot one point a picture, in points of the 0-100 score.

    Args:
        quality: Shape (N,), predictions in [0, 1].
        target: Shape (N,), ratings in [0, 1].
        title: Of the plot.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1)
    axes.scatter(100 * target, 100 * quality, s=8, alpha=0.35, linewidths=0)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", title=f"{title}, {len(target)} pictures")
    axes.set(xlabel="rated (MOS on 0-100)", ylabel="predicted score")
    axes.grid(alpha=0.3)
    return figure


def history(rows: list[dict[str, float]]) -> Figure:
    """Plot training loss and validation SROCC by epoch."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], "o-", color="tab:gray")
    right.plot(epochs, [row["srocc"] for row in rows], "s-", color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss (grey)")
    right.set(ylabel="validation SROCC (blue)")
    left.set_xticks(epochs)
    return figure
