"""Pictures of a model for people: against ratings, in training, calibrated, under distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        title: Title of the plot.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1)
    axes.scatter(100 * target, 100 * quality, s=8, alpha=0.35, linewidths=0)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", title=f"{title}, {len(target)} pictures")
    axes.set(xlabel="rated (MOS on 0-100)", ylabel="predicted score")
    axes.grid(alpha=0.3)
    return figure


def history(rows: list[dict[str, float]], key: str) -> Figure:
    """Plot training loss and one metric on validation by epoch."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], "o-", color="tab:gray")
    right.plot(epochs, [row[key] for row in rows], "s-", color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss (grey)")
    right.set(ylabel=f"validation {key.upper()} (blue)")
    left.set_xticks(epochs)
    return figure


def reliability(rows_of: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """
    Plot mean rating against mean score; on the diagonal, the score is right on average.

    Args:
        rows_of: Rows of `training.measure.calibration.reliability` by what they are of, such as raw
            and calibrated.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1)
    for name, rows in rows_of.items():
        scores = [row["score"] for row in rows]
        axes.plot(scores, [row["rated"] for row in rows], "o-", markersize=4, label=name)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", title="reliability")
    axes.set(xlabel="mean score of the bin", ylabel="mean rating (MOS on 0-100)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def errors_by_threshold(
    scores: NDArray[np.float64],
    is_good: NDArray[np.bool_],
    accept_at: float,
    reject_below: float,
) -> Figure:
    """
    Plot what share of all pictures is decided wrongly at each threshold, and where the chosen lie.

    Args:
        scores: Shape (N,), points.
        is_good: Shape (N,), by the people's ratings.
        accept_at: The chosen one.
        reject_below: The same, or a lower one.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    ticks = np.linspace(0, 100, 401)
    for name, errors in (
        ("accepted, not good", [np.mean((scores >= tick) & ~is_good) for tick in ticks]),
        ("rejected, but good", [np.mean((scores < tick) & is_good) for tick in ticks]),
    ):
        axes.plot(ticks, 100 * np.array(errors), label=name)
    if reject_below < accept_at:
        axes.axvspan(reject_below, accept_at, alpha=0.15, color="0.5", label="for a person")
    axes.axvline(accept_at, color="0.3", linestyle="--", label=f"accept at {accept_at:g}")
    axes.set(xlim=(0, 100), ylim=(0, None), xlabel="threshold (score)")
    axes.set(ylabel="% of all pictures", title=f"{len(scores)} pictures, {is_good.sum()} good")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def scores_by_level(mean_score_of: Mapping[str, Sequence[float]], title: str) -> Figure:
    """
    Plot the mean score of each distortion at level 0 (the original), 1, 2 and so on.

    Args:
        mean_score_of: Points by distortion, one for each level from 0.
        title: Title of the plot.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, scores in mean_score_of.items():
        axes.plot(range(len(scores)), scores, "o-", markersize=4, label=name.replace("_", " "))
    axes.set(ylim=(0, 100), xlabel="level (0 is the original)", ylabel="mean score", title=title)
    axes.set_xticks(range(max(len(scores) for scores in mean_score_of.values())))
    axes.grid(alpha=0.3)
    axes.legend(ncols=2)
    return figure
