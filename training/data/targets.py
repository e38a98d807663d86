"""
What the network is to say of each image, out of a data set's table.

Each task has its own (`training.tasks`). Two are here: ratings, checked and mapped to [0, 1], and
labels, checked and numbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from iqa.tasks.score_scales import quality_of_mos
from numpy.typing import NDArray

from training.data.dataset_layouts import Layout

Targets: TypeAlias = Callable[[Layout], tuple[NDArray[np.float64], dict[str, Any]]]
"""Checks a layout's table; returns the target of each row, and what a card says of the targets."""

NAMES_SHOWN: Final = 5


def mos_targets(layout: Layout) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """
    Return the quality in [0, 1] of each row, by its mean opinion score.

    Raises:
        ValueError: Ratings are missing, off their range, or of another scale.
    """
    table, mos_range = layout.table, layout.mos_range
    if mos_range is None or "mos" not in table:
        raise ValueError(
            f"ratings: expected a column mos and its range, got {', '.join(map(str, table))}. "
            "This data set is not rated: take a model of its task."
        )
    unrated = table["image_name"][~np.isfinite(table["mos"].astype(float))]
    if len(unrated):
        raise ValueError(
            f"ratings: expected a number in every row, got none in {len(unrated)} "
            f"({some(unrated)}). Remove these rows."
        )
    if len(table) < 2:
        raise ValueError(
            f"ratings: expected at least 2 rated pictures, got {len(table)}. Rate more of them."
        )
    _check_scale(table, mos_range)
    return quality_of_mos(table["mos"].to_numpy(dtype=np.float64), mos_range), {}


def class_targets(
    layout: Layout, class_names: Sequence[str] = ()
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """
    Return the number of each row's class, by its label.

    Args:
        layout: With a column label.
        class_names: Of a model that is measured, in the order of its outputs; without them the
            data set's own, else those of the training images in alphabetical order.

    Raises:
        ValueError: No labels, or labels that are no class, or classes without training images.
    """
    table = layout.table
    if "label" not in table:
        raise ValueError(
            f"labels: expected a column label, got {', '.join(map(str, table))}. "
            "This data set is not labelled: take a model of its task."
        )
    learned = table["label"][table["split"] == "train"]
    is_given = bool(class_names)
    names = list(class_names or layout.class_names or sorted(learned.unique()))
    names = names or sorted(table["label"].unique())
    unknown = table[~table["label"].isin(names)]
    if len(unknown):
        raise ValueError(
            f"labels: expected the {len(names)} classes {some(names)}, got "
            f"{some(sorted(unknown['label'].unique()))} in {len(unknown)} rows "
            f"({some(unknown['image_name'])}). Correct the labels, or "
            + ("take a model of these classes." if is_given else "add training images of them.")
        )
    if len(names) < 2:
        raise ValueError(f"labels: expected two classes or more, got {some(names) or 'none'}.")
    empty = [name for name in names if len(learned) and not (learned == name).any()]
    if empty and not is_given:
        raise ValueError(
            f"labels: expected training images of each class, got none of {some(empty)}. "
            "Add images, or remove these classes."
        )
    number_of = {name: number for number, name in enumerate(names)}
    target = table["label"].map(number_of).to_numpy(dtype=np.float64)
    return target, {"class_names": names}


def some(names: Iterable[object]) -> str:
    """Return the first few of many names, for a message."""
    shown = [str(name) for name in names]
    more = "" if len(shown) <= NAMES_SHOWN else ", ..."
    return ", ".join(shown[:NAMES_SHOWN]) + more


def _check_scale(table: pd.DataFrame, mos_range: tuple[float, float]) -> None:
    """Refuse ratings off their range, or in a small part of it: a 1-5 scale read as 0-100."""
    low, high = mos_range
    mos = table["mos"]
    outside = table["image_name"][(mos < low) | (mos > high)]
    if low < high and len(outside):
        raise ValueError(
            f"mos: expected ratings in [{low:g}, {high:g}], got {mos.min():g} to {mos.max():g}, "
            f"{len(outside)} of {len(table)} outside ({some(outside)}). Correct them, or give "
            "the scale of these ratings: --mos-range LOW HIGH."
        )
    quality_of_mos(mos.to_numpy(dtype=np.float64), mos_range)  # refuses an empty range
    if (float(mos.max()) - low) < 0.2 * (high - low):
        raise ValueError(
            f"mos: expected ratings that use [{low:g}, {high:g}], got {mos.min():g} to "
            f"{mos.max():g}. These look like another scale: --mos-range LOW HIGH."
        )
