"""The cells of a sweep, best first: as text, as tables on disk, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from iqa.network.model import FEATURES_OF_BACKBONE
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS: Final = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown")


def ranked(cells: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """
    Rank finished cells by validation SROCC, then by the lower validation RMSE.

    The test split is shown and chooses nothing.

    Args:
        cells: As a sweep records them: `backbone`, `lr`, `epochs`, `best_epoch`, `seconds`,
            `weights`, `version`, `run_id` and `metrics` by split.

    Returns:
        One row a cell, best first. `starts_from` is imagenet, none or a file's name. Errors in
        points of the 0-100 score, before calibration; `low` and `high` are the 95 % bootstrap
        interval of the test SROCC; `minutes` is the time of the training steps.
    """
    rows = []
    for cell in cells.values():
        val, test = cell["metrics"]["val"], cell["metrics"]["test"]
        low, high = test["srocc_ci95"]
        rows.append(
            {
                "backbone": cell["backbone"],
                "lr": cell["lr"],
                "epochs": cell["epochs"],
                "starts_from": Path(cell["weights"]).name,
                "best_epoch": cell["best_epoch"],
                "val_srocc": val["srocc"],
                "val_rmse_100": val["rmse_100"],
                "test_srocc": test["srocc"],
                "low": low,
                "high": high,
                "test_plcc": test["plcc"],
                "test_rmse_100": test["rmse_100"],
                "test_mae_100": test["mae_100"],
                "minutes": cell["seconds"] / 60,
                "version": cell["version"],
                "run_id": cell["run_id"],
            }
        )
    table = pd.DataFrame(rows)
    table = table.sort_values(["val_srocc", "val_rmse_100"], ascending=[False, True])
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.reset_index(drop=True)


def as_text(table: pd.DataFrame) -> str:
    """Return the columns that fit a terminal of 100."""
    shown = pd.DataFrame(
        {
            "#": table["rank"],
            "backbone": table["backbone"],
            "lr": [f"{lr:g}" for lr in table["lr"]],
            "epochs": table["epochs"],
            "val SROCC": [f"{value:.4f}" for value in table["val_srocc"]],
            "test SROCC [95 %]": [
                f"{row.test_srocc:.4f} [{row.low:.4f}, {row.high:.4f}]"
                for row in table.itertuples()
            ],
            "PLCC": [f"{value:.4f}" for value in table["test_plcc"]],
            "RMSE_100": [f"{value:.2f}" for value in table["test_rmse_100"]],
            "minutes": [f"{value:.1f}" for value in table["minutes"]],
            "version": table["version"],
        }
    )
    return shown.to_string(index=False)


def as_markdown(table: pd.DataFrame) -> str:
    """Return the ranking as Markdown."""
    lines = [
        "| | backbone | starts from | rate | epochs (best) | validation SROCC "
        "| test SROCC, 95 % | PLCC | RMSE_100 | MAE_100 | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        lines.append(
            f"| {row['rank']} | {row['backbone']} | {row['starts_from']} | {row['lr']:g} "
            f"| {row['epochs']} ({row['best_epoch']}) | {row['val_srocc']:.4f} "
            f"| {row['test_srocc']:.4f} [{row['low']:.4f}, {row['high']:.4f}] "
            f"| {row['test_plcc']:.4f} | {row['test_rmse_100']:.2f} | {row['test_mae_100']:.2f} "
            f"| {row['minutes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def write(table: pd.DataFrame, title: str, directory: Path) -> Sequence[Path]:
    """Write leaderboard.csv, leaderboard.md and the plot leaderboard.svg; return them."""
    paths = [directory / f"leaderboard.{suffix}" for suffix in ("csv", "md", "svg")]
    table.to_csv(paths[0], index=False)
    paths[1].write_text(as_markdown(table))
    plot(table, title).savefig(paths[2])
    return paths


def plot(table: pd.DataFrame, title: str) -> Figure:
    """
    Plot the test SROCC of each cell with its interval, and the validation SROCC that ranks it.

    Args:
        table: `ranked`'s.
        title: Of the plot.
    """
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(table)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(FEATURES_OF_BACKBONE, COLOURS, strict=False))
    for place, row in enumerate(table.to_dict("records")):
        colour = colours[row["backbone"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, alpha=0.5)
        axes.plot(row["test_srocc"], place, "o", color=colour, markersize=7)
        axes.plot(row["val_srocc"], place, "|", color="0.25", markersize=12, markeredgewidth=2)
        axes.annotate(
            f"{row['test_srocc']:.3f}",
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
    axes.set_xlabel("SROCC")
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
