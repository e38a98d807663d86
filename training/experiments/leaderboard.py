"""The cells of a sweep, best first: as text, as tables on disk, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from iqa.network.names import NETWORKS
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from training.tasks.task import Metric, TrainingTask

COLOURS: Final = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


def ranked(cells: dict[str, dict[str, Any]], task: TrainingTask) -> pd.DataFrame:
    """
    Rank finished cells by what the task ranks by, on validation.

    The test split is shown and chooses nothing.

    Args:
        cells: As a sweep records them: `backbone`, `lr`, `epochs`, `best_epoch`, `seconds`,
            `weights`, `version`, `run_id` and `metrics` by split.
        task: The sweep's task.

    Returns:
        One row a cell, best first. `starts_from` is imagenet, none or a file's name. `val_...` are
        the metrics that rank, `test_...` all that the task shows, before calibration; `low` and
        `high` are the 95 % interval of the leading one on test, where it has one; `minutes` is the
        time of the training steps.
    """
    ranking = [metric for metric in task.shown if metric.ranks]
    rows = []
    for cell in cells.values():
        val, test = cell["metrics"]["val"], cell["metrics"]["test"]
        leading = task.leading.key
        low, high = test.get(f"{leading}_ci95", [test[leading]] * 2)
        rows.append(
            {
                "backbone": cell["backbone"],
                "lr": cell["lr"],
                "epochs": cell["epochs"],
                "starts_from": Path(cell["weights"]).name,
                "best_epoch": cell["best_epoch"],
                **{f"val_{metric.key}": val[metric.key] for metric in ranking},
                **{f"test_{metric.key}": test[metric.key] for metric in task.shown},
                "low": low,
                "high": high,
                "minutes": cell["seconds"] / 60,
                "version": cell["version"],
                "run_id": cell["run_id"],
            }
        )
    table = pd.DataFrame(rows).sort_values(
        [f"val_{metric.key}" for metric in ranking],
        ascending=[metric.ranks < 0 for metric in ranking],
    )
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.reset_index(drop=True)


def as_text(table: pd.DataFrame, task: TrainingTask) -> str:
    """Return the columns that fit a terminal of 100."""
    shown = pd.DataFrame(
        {
            "#": table["rank"],
            "backbone": table["backbone"],
            "lr": [f"{lr:g}" for lr in table["lr"]],
            "epochs": table["epochs"],
            **_metric_columns(table, task, "val", "test {} [95 %]"),
            "minutes": [f"{value:.1f}" for value in table["minutes"]],
            "version": table["version"],
        }
    )
    return shown.to_string(index=False)


def as_markdown(table: pd.DataFrame, task: TrainingTask) -> str:
    """Return the ranking as Markdown."""
    shown = pd.DataFrame(
        {
            "": table["rank"],
            "backbone": table["backbone"],
            "starts from": table["starts_from"],
            "rate": [f"{lr:g}" for lr in table["lr"]],
            "epochs (best)": [f"{row.epochs} ({row.best_epoch})" for row in table.itertuples()],
            **_metric_columns(table, task, "validation", "test {}, 95 %"),
            "minutes": [f"{value:.1f}" for value in table["minutes"]],
        }
    ).astype(str)
    lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _metric_columns(
    table: pd.DataFrame, task: TrainingTask, validation: str, test: str
) -> dict[str, list[str]]:
    """Return the leading metric on both splits, on test with its interval; then the others."""
    leading = task.leading
    columns = {
        f"{validation} {leading.title}": [leading.text(v) for v in table[f"val_{leading.key}"]],
        test.format(leading.title): [
            f"{leading.text(value)} [{leading.text(low)}, {leading.text(high)}]"
            for value, low, high in zip(
                table[f"test_{leading.key}"], table["low"], table["high"], strict=True
            )
        ],
    }
    for metric in task.shown:
        if metric != leading:
            columns[metric.title] = [metric.text(v) for v in table[f"test_{metric.key}"]]
    return columns


def write(table: pd.DataFrame, task: TrainingTask, title: str, directory: Path) -> Sequence[Path]:
    """Write leaderboard.csv, leaderboard.md and the plot leaderboard.svg; return them."""
    paths = [directory / f"leaderboard.{suffix}" for suffix in ("csv", "md", "svg")]
    table.to_csv(paths[0], index=False)
    paths[1].write_text(as_markdown(table, task))
    plot(table, task.leading, title).savefig(paths[2])
    return paths


def plot(table: pd.DataFrame, metric: Metric, title: str) -> Figure:
    """
    Plot a metric of each cell on test with its interval, and on validation, where it ranks.

    Args:
        table: `ranked`'s.
        metric: The leading one.
        title: Title of the plot.
    """
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(table)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(NETWORKS, COLOURS, strict=False))
    for place, row in enumerate(table.to_dict("records")):
        colour = colours[row["backbone"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, alpha=0.5)
        axes.plot(row[f"test_{metric.key}"], place, "o", color=colour, markersize=7)
        axes.plot(
            row[f"val_{metric.key}"], place, "|", color="0.25", markersize=12, markeredgewidth=2
        )
        axes.annotate(
            f"{row[f'test_{metric.key}']:.3f}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    names = []
    for row in table.to_dict("records"):
        plural = "" if row["epochs"] == 1 else "s"
        scratch = " from scratch" if row["starts_from"] == "none" else ""
        names.append(f"{row['backbone']}{scratch}, lr {row['lr']:g}, {row['epochs']} epoch{plural}")
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(metric.title)
    axes.set_title(title, fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(
        handles=[
            Line2D([], [], color="0.4", marker="o", linewidth=2, label="test, 95 % bootstrap"),
            Line2D([], [], color="0.25", marker="|", linestyle="", markersize=12,
                   markeredgewidth=2, label="validation, which ranks"),
        ],
        loc="outside lower center", ncols=2, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure
