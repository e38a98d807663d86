"""An ablation's rows: each variant against the recipe, as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.experiments.sweep_record import SweepRecord
from training.measure.metrics import agreement, paired_difference


def compare(
    record: SweepRecord, recipe: str, quality_file: str, target: NDArray[np.float64]
) -> pd.DataFrame:
    """
    Compare what was tried with the recipe.

    Args:
        record: The ablation's record.
        recipe: The row that the others are compared with.
        quality_file: Name of the predictions in each variant's folder.
        target: Shape (N,), the ratings in [0, 1] of the images that are compared on.

    Returns:
        One row a variant, the recipe first, then by falling difference of SROCC: `name`, `srocc`,
        `plcc`, `rmse_100`, for each of the three `d_...`, `low_...` and `high_...` (difference
        from the recipe and its 95 % interval), `best_epoch`, `minutes`.
    """
    quality = {
        name: np.load(record.directory / cell["folder"] / quality_file)
        for name, cell in record.cells.items()
    }
    rows: list[dict[str, Any]] = []
    for name, cell in record.cells.items():
        own = agreement(quality[name], target)
        row = {"name": name, **{key: own[key] for key in ("srocc", "plcc", "rmse_100")}}
        found = paired_difference(quality[name], quality[recipe], target)
        for key, (difference, low, high) in found.items():
            row |= {f"d_{key}": difference, f"low_{key}": low, f"high_{key}": high}
        rows.append(row | {"best_epoch": cell["best_epoch"], "minutes": cell["seconds"] / 60})
    table = pd.DataFrame(rows).sort_values("d_srocc", ascending=False)
    is_recipe = table["name"] == recipe
    return pd.concat([table[is_recipe], table[~is_recipe]]).reset_index(drop=True)


def as_markdown(table: pd.DataFrame) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| | SROCC | difference, 95 % | PLCC | difference | RMSE_100 | difference | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for place, row in enumerate(table.to_dict("records")):
        d = f"{row['d_srocc']:+.4f} [{row['low_srocc']:+.4f}, {row['high_srocc']:+.4f}]"
        plcc, rmse = f"{row['d_plcc']:+.4f}", f"{row['d_rmse_100']:+.2f}"
        if place == 0:
            d = plcc = rmse = ""
        lines.append(
            f"| {row['name']} | {row['srocc']:.4f} | {d} | {row['plcc']:.4f} | {plcc} "
            f"| {row['rmse_100']:.2f} | {rmse} | {row['minutes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def plot(table: pd.DataFrame) -> Figure:
    """Plot each variant's difference of SROCC from the recipe, with its interval."""
    shown = table.iloc[1:]
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(shown.to_dict("records")):
        axes.plot([row["low_srocc"], row["high_srocc"]], [place, place], color="tab:blue", lw=2)
        axes.plot(row["d_srocc"], place, "o", color="tab:blue")
    axes.axvline(0, color="0.4", lw=1)
    axes.set_yticks(range(len(shown)), list(shown["name"]))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("difference of SROCC from the recipe, 95 %")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def write(table: pd.DataFrame, directory: Path) -> Sequence[Path]:
    """Write ablation.csv, ablation.md and ablation.svg; return them."""
    paths = [directory / f"ablation.{suffix}" for suffix in ("csv", "md", "svg")]
    table.to_csv(paths[0], index=False)
    paths[1].write_text(as_markdown(table))
    plot(table).savefig(paths[2])
    return paths
