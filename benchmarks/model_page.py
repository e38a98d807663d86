"""
What a model's scores are worth, as a page of tables: `python -m benchmarks.model_page --help`.

Made of the files that `training.evaluate` and `training.calibrate` write, so that no figure of it
was copied by hand.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line

Record = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_page",
        description="Make a page of tables of what training.evaluate (test.json, test.worst.csv) "
        "and training.calibrate (calibration.json) wrote into one folder.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("docs/model"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, help="the page (default: results.md in the folder of the results)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    out: Path = arguments.out or arguments.results / "results.md"

    def command() -> int:
        out.write_text(page(arguments.results))
        print(f"written: {out}")
        return 0

    return command_line.run(command, arguments.debug)


def page(results: Path) -> str:
    """
    Return the page.

    Args:
        results: Folder of test.json, test.worst.csv and calibration.json.

    Raises:
        FileNotFoundError: One of them is missing.
        ValueError: The two are of different models.
    """
    test, fitted = (_read(results / name) for name in ("test.json", "calibration.json"))
    with (results / "test.worst.csv").open(newline="") as file:
        worst = list(csv.DictReader(file))
    if test["weights_sha256"] != fitted.get("weights_sha256", test["weights_sha256"]):
        raise ValueError(
            f"{results}: expected test.json and calibration.json of one model, got two. "
            "Measure and calibrate the same one."
        )
    return "\n".join(
        [
            "# The shipped model in figures\n",
            f"`benchmarks.model_page` made this page; weights {test['weights_sha256'][:12]}. "
            "What the figures mean: [the model](../model.md).\n",
            f"## On the {test['split']} split of {test['dataset']}: {test['n']} pictures\n",
            _headline(test),
            "In brackets: 95 % bootstrap intervals over the pictures.\n",
            *([_served_words(test["served"])] if "served" in test else []),
            "### By the score\n",
            _by_score(test["by_score"]),
            "### By the rating\n",
            _by_rating(test["by_rating"]),
            "### The ten that are furthest off\n",
            _worst(worst),
            f"## Calibration, on {fitted['calibration']['n']} validation pictures\n",
            _calibration(fitted),
            "## Labels, on validation\n",
            _labels(fitted),
            "## Interval\n",
            _interval(fitted["interval"], test["interval"]),
        ]
    )


def _headline(test: Record) -> str:
    kinds = {"network's own": test, "calibrated": test["calibrated"]}
    if "served" in test:
        kinds["calibrated, as served"] = test["served"]
    rows = []
    for name, title, digits in (
        ("srocc", "SROCC", 4), ("plcc", "PLCC", 4), ("krocc", "KROCC", 4),
        ("mae_100", "MAE_100", 2), ("rmse_100", "RMSE_100", 2),
    ):  # fmt: skip
        cells = []
        for found in kinds.values():
            ends = found.get(f"{name}_ci95")
            told = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
            cells.append(f"{found[name]:.{digits}f}{told}")
        rows.append([title, *cells])
    biases = [found.get("calibration_error_100") for found in kinds.values()]
    cells = ["" if bias is None else f"{bias:.2f}" for bias in biases]
    rows.append(["mean size of the bias, ten bins of the score", *cells])
    return _table(["", *kinds], rows)


def _served_words(served: Record) -> str:
    return (
        f"Served and torch differ by {abs(served['srocc_off']):.4f} of SROCC, by "
        f"{served['points_off_median']:.2f} points at the median and "
        f"{served['points_off_p99']:.2f} at the 99th percentile.\n"
    )


def _by_score(bands: Sequence[Record]) -> str:
    rows = [
        [
            f"{band['low']:.0f} to {band['high']:.0f}", f"{band['n']:.0f}",
            f"{band['score']:.1f}", f"{band['rated']:.1f}", f"{band['bias_100']:+.1f}",
            f"{band['mae_100']:.1f}", f"{band['rmse_100']:.1f}",
        ]
        for band in bands
    ]  # fmt: skip
    head = ["score", "pictures", "mean score", "mean rating", "bias", "MAE_100", "RMSE_100"]
    return _table(head, rows)


def _by_rating(bands: Sequence[Record]) -> str:
    rows = [
        [
            f"{band['low']:.0f} to {band['high']:.0f}", f"{band['n']:.0f}",
            f"{band['mae_100']:.1f}", f"{band['bias_100']:+.1f}",
        ]
        for band in bands
    ]  # fmt: skip
    return _table(["rating", "pictures", "MAE_100", "mean of score minus rating"], rows)


def _worst(pictures: Sequence[dict[str, str]]) -> str:
    rows = [
        [picture["image_name"], *(f"{float(picture[name]):.1f}" for name in ("score", "rated")),
         f"{float(picture['error']):+.1f}"]
        for picture in pictures
    ]  # fmt: skip
    return _table(["picture", "score", "rated", "error"], rows)


def _calibration(fitted: Record) -> str:
    found, measured = fitted["calibration"]["validation"], fitted["measured"]
    rows = [
        [
            title, f"{found['raw'][name]:.2f}", f"{found['calibrated'][name]:.2f}",
            f"{found['isotonic'][name]:.2f}" if name in found["isotonic"] else "",
        ]
        for name, title in (("mae_100", "MAE_100"), ("rmse_100", "RMSE_100"))
    ]  # fmt: skip
    biases = [f"{measured[kind]['calibration_error_100']:.2f}" for kind in ("raw", "calibrated")]
    rows.append(["mean size of the bias, ten bins of the score", *biases, ""])
    scale, offset = fitted["calibration"]["scale"], fitted["calibration"]["offset"]
    return (
        f"Logit -> {scale:.4f} x logit {offset:+.4f}. Each picture is calibrated by a fit on "
        "others.\n\n"
        + _table(["", "network's own", "calibrated", "isotonic, for comparison"], rows)
    )


def _labels(fitted: Record) -> str:
    rows = [
        [
            label["label"], f"{band['low']:.0f} to {band['high']:.0f}", f"{label['n']:.0f}",
            f"{label['rated']:.1f}", f"{100 * label['same']:.0f} %",
            f"{100 * label['within_one']:.0f} %",
        ]
        for label, band in zip(fitted["labels"], fitted["by_label"], strict=True)
    ]  # fmt: skip
    pictures = sum(label["n"] for label in fitted["labels"])
    same = sum(label["n"] * label["same"] for label in fitted["labels"]) / pictures
    best = fitted["best_floors"]
    head = ["label", "score", "pictures", "mean rating", "rating has it too", "at most one away"]
    return _table(head, rows) + (
        f"\nScore and rating have the same label for {100 * same:.1f} % of the pictures; with the "
        f"best floors in hindsight ({', '.join(f'{floor:g}' for floor in best['floors'])}) for "
        f"{100 * best['same']:.1f} %.\n"
    )


def _interval(fitted: Record, test: Record) -> str:
    rows = []
    for band, found in zip(fitted["bands"], test["bands"], strict=True):
        rows.append(
            [
                f"{band['low']:.0f} to {band['high']:.0f}", f"{band['half_width']:.1f}",
                f"{band['n']:.0f}", f"{found['n']:.0f}", f"{100 * found['coverage']:.1f} %",
                f"{found['mean_width']:.1f}",
            ]
        )  # fmt: skip
    total = [f"{fitted['n']:.0f}", f"{test['n']:.0f}", f"{100 * test['coverage']:.1f} %"]
    rows.append(["all", "", *total, f"{test['mean_width']:.1f}"])
    head = [
        "score", "half width, points", "validation pictures", "test pictures", "coverage on test",
        "mean width on test",
    ]  # fmt: skip
    return f"Promised: {100 * fitted['coverage']:g} %.\n\n" + _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _read(path: Path) -> Record:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: expected it, found none. Make it by training.evaluate --split test --out "
            "FOLDER/test.json, or by training.calibrate --out FOLDER/calibration.json."
        )
    document: Record = json.loads(path.read_text())
    return document


if __name__ == "__main__":
    sys.exit(main())
