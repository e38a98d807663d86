"""What a classifier's predictions are worth: printed, and written as tables and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from iqa.tasks.classes import calibrated
from numpy.typing import NDArray

from training.data.images import read_pixels
from training.data.ratings import Split
from training.measure import class_plots, classification

Array = NDArray[np.float64]

WORST_SHOWN: Final = 10
CONFUSIONS_SHOWN: Final = 5
METRICS: Final = ("accuracy", "macro_f1", "top_5", "roc_auc", "cross_entropy", "ece")


def report(
    found: dict[str, Any],
    outputs: Array,
    split: Split,
    temperature: float,
    names: Sequence[str],
    out: Path,
) -> None:
    """
    Print what was measured, and write it.

    Args:
        found: Of `classification.evaluate`, and what it is of.
        outputs: Shape (N, K), the network's.
        split: The images.
        temperature: Of the card.
        names: Of the classes.
        out: File of the figures. Beside it: `.predictions.csv` with a row an image,
            `.confusion.csv` and `.png`, `.reliability.svg`, `.worst.csv` and `.worst.png`.
    """
    probabilities, target = calibrated(outputs, temperature), split.target
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    table = predictions(probabilities, split, names)
    table.to_csv(out.with_suffix(".predictions.csv"), index=False)
    counts = pd.DataFrame(found["confusion"], index=list(names), columns=list(names))
    counts.to_csv(out.with_suffix(".confusion.csv"), index_label="true \\ predicted")
    title = f"{found.get('dataset', 'images')}, {found.get('split', 'split')}"
    figure = class_plots.confusion(outputs, target, title, names)
    figure.savefig(out.with_suffix(".png"), dpi=120)
    rows = {"raw": classification.reliability(outputs, target)}
    if temperature != 1.0:
        rows["calibrated"] = classification.reliability(probabilities, target)
    class_plots.reliability(rows).savefig(out.with_suffix(".reliability.svg"))
    worst = _worst(probabilities, split, names)
    worst.drop(columns="index").to_csv(out.with_suffix(".worst.csv"), index=False)
    captions = [
        f"{row.image_name}\n{row.label}, taken for\n{row.predicted_label} ({row.confidence:.2f})"
        for row in worst.itertuples()
    ]
    pixels = [read_pixels(split, int(index)) for index in worst["index"]]
    shown = class_plots.images(pixels, captions, f"the surest mistakes: {title}")
    shown.savefig(out.with_suffix(".worst.png"), dpi=100)

    print(_metrics_table(found))
    print(f"{'n':<14} {len(split):8d}")
    print("\nby class, with 95 % intervals:")
    print(_class_table(found["by_class"]))
    print("\nmost often taken for another:")
    print(_confusions(np.asarray(found["confusion"]), names))
    print(f"\nthe {len(worst)} surest mistakes:")
    print(worst.drop(columns="index").to_string(index=False, float_format="{:.3f}".format))
    print(
        f"\nwritten: {out}, and beside it {out.stem}.png, .confusion.csv, .predictions.csv, "
        ".reliability.svg, .worst.csv, .worst.png"
    )


def predictions(probabilities: Array, split: Split, names: Sequence[str]) -> pd.DataFrame:
    """Return a row an image: name, label, predicted class and label, confidence, probabilities."""
    best = probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "image_name": split.names,
            "label": [names[int(k)] for k in split.target],
            "predicted_class": best,
            "predicted_label": [names[k] for k in best],
            "confidence": probabilities.max(axis=1).round(6),
        }
    )
    columns = {f"prob_{name}": probabilities[:, k].round(6) for k, name in enumerate(names)}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def _worst(probabilities: Array, split: Split, names: Sequence[str]) -> pd.DataFrame:
    best = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(best != split.target)
    order = wrong[np.argsort(-probabilities[wrong, best[wrong]], kind="stable")][:WORST_SHOWN]
    return pd.DataFrame(
        {
            "index": order,
            "image_name": [split.names[i] for i in order],
            "label": [names[int(split.target[i])] for i in order],
            "predicted_label": [names[best[i]] for i in order],
            "confidence": probabilities[order, best[order]],
        }
    )


def _metrics_table(found: dict[str, Any]) -> str:
    kinds = {"raw": found} | {k: found[k] for k in ("calibrated", "served") if k in found}
    lines = [" " * 15 + "".join(f"{kind:<28}" for kind in kinds)]
    for name in METRICS:
        cells = []
        for numbers in kinds.values():
            ends = numbers.get(f"{name}_ci95")
            text = f"{numbers[name]:8.4f}" if name in numbers else ""
            cells.append(text + (f" [{ends[0]:.4f}, {ends[1]:.4f}]" if ends else ""))
        if any(cells):
            lines.append(f"{name:<14} " + "".join(f"{cell:<28}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _class_table(rows: list[dict[str, Any]]) -> str:
    def cell(row: dict[str, Any], key: str) -> str:
        low, high = row[f"{key}_ci95"]
        return f"{row[key]:.3f} [{low:.3f}, {high:.3f}]"

    table = pd.DataFrame(
        [
            {"class": row["label"], "n": row["n"]}
            | {key: cell(row, key) for key in ("precision", "recall", "f1")}
            for row in rows
        ]
    )
    return table.to_string(index=False)


def _confusions(counts: NDArray[np.int64], names: Sequence[str]) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong.ravel(), kind="stable")[:CONFUSIONS_SHOWN]
    lines = []
    for true, predicted in (divmod(int(place), len(names)) for place in order):
        if wrong[true, predicted]:
            lines.append(
                f"{wrong[true, predicted]:5d} of {counts[true].sum()} {names[true]} "
                f"taken for {names[predicted]}"
            )
    return "\n".join(lines) or "none"
