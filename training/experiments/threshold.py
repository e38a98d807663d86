"""The thresholds that a rule chooses on rated pictures: found, checked, reported."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from iqa.network import checkpoint
from iqa.tasks.score_scales import ScoreScale, quality_of_mos
from iqa.tasks.task_table import QUALITY, task_of
from numpy.typing import NDArray

from training.compute.device import choose_device
from training.data import ratings
from training.data.config import data_config
from training.data.dataset_layouts import ALL
from training.data.ratings_table import read_ratings
from training.measure import plots, threshold_errors
from training.measure.predict import predict, torch_predictor
from training.measure.threshold_errors import Chooser, Thresholds
from training.registry.load_model import load_model

Vector = NDArray[np.float64]


def choose_thresholds(choose: Chooser, arguments: argparse.Namespace) -> None:
    """
    Choose thresholds on rated pictures; print and write them with their rates.

    Args:
        choose: The rule.
        arguments: The options of `training.threshold`.

    Raises:
        ValueError: There is no model and no file of scores, or the data's checks failed.
        FileNotFoundError: Pictures, ratings or scores are missing.
    """
    scores, rated = _scored(arguments)
    is_good = _is_good(rated, arguments)
    found, promised = threshold_errors.expected(choose, scores, is_good)
    document: dict[str, Any] = {
        "accept_at": found.accept_at,
        "reject_below": found.reject_below,
        "good_from": arguments.good_from,
        "n": len(scores),
        "n_good": int(is_good.sum()),
        "expected": promised,
    }
    if arguments.check_split:
        document["checked"] = {"split": arguments.check_split} | _checked(arguments, found)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=2) + "\n")
    plot = arguments.out.with_suffix(".png")
    plots.errors_by_threshold(scores, is_good, found.accept_at, found.reject_below).savefig(
        plot, dpi=120
    )
    print(_report(document))
    print(f"written: {arguments.out}, {plot}")


def _is_good(rated: Vector, arguments: argparse.Namespace) -> NDArray[np.bool_]:
    """Tell which ratings are good; 57 of 100, taken to [0, 1] and back, is a little less."""
    is_good: NDArray[np.bool_] = rated >= arguments.good_from - 1e-9
    return is_good


def _scored(arguments: argparse.Namespace, split: str | None = None) -> tuple[Vector, Vector]:
    """Return scores and ratings of a split, both on 0-100."""
    if arguments.scores is not None:
        table = read_ratings(
            arguments.scores, ("score", "mos"), headers=_headers(arguments.columns),
            remedy="Name the column of scores score, and that of ratings mos.",
        )  # fmt: skip
        low_high = arguments.mos_range or (0.0, 100.0)
        scores = table.numbers("score")
        if scores.min() < 0 or scores.max() > 100 or scores.max() <= 1:
            raise ValueError(
                f"--scores: expected scores on 0-100, got {scores.min():g} to {scores.max():g}. "
                "Rescale the column to 0-100."
            )
        return scores, 100 * quality_of_mos(table.numbers("mos"), low_high)
    if arguments.model is None:
        raise ValueError("--model: expected it, or --scores with a file of scores, got neither.")
    network, card = load_model(arguments.model)
    if task_of(card).name != QUALITY.name:
        raise ValueError(f"--model: expected a model of quality, got one of {task_of(card).name}.")
    name = split or arguments.split
    needed = () if name == ALL else (name,)
    data = ratings.load(data_config(arguments), needed, policy=checkpoint.policy_of(card))
    device = choose_device(arguments.device)
    quality = predict(
        torch_predictor(network.to(device), device), data.split(name),
        workers=arguments.workers, title=f"score {name}",
    )  # fmt: skip
    scale = ScoreScale.of_card(card)
    return np.array([scale.score(float(q)) for q in quality]), 100 * data.split(name).target


def _headers(columns: dict[str, str] | None) -> dict[str, str] | None:
    """Return what the ratings' column is called; of the names nothing is needed here."""
    return {"mos": columns["mos"]} if columns and "mos" in columns else None


def _checked(arguments: argparse.Namespace, found: Thresholds) -> dict[str, Any]:
    scores, rated = _scored(arguments, arguments.check_split)
    return {
        "n": len(scores),
        "rates": threshold_errors.with_intervals(
            scores >= found.accept_at, scores < found.reject_below, _is_good(rated, arguments)
        ),
    }


def _report(document: dict[str, Any]) -> str:
    checked = document.get("checked")
    heads = "expected".ljust(24) + (f"on {checked['split']}" if checked else "")
    lines = [f"{document['n']} pictures, {document['n_good']} of them good", f"{'':24}{heads}"]
    for name in threshold_errors.RATES:
        cells = [document["expected"][name], *([checked["rates"][name]] if checked else [])]
        lines.append(
            f"{name.replace('_', ' '):24}"
            + "".join(
                f"{100 * cell['value']:5.1f} % [{100 * cell['ci95'][0]:.1f}, "
                f"{100 * cell['ci95'][1]:.1f}]".ljust(24)
                for cell in cells
            ).rstrip()
        )
    return "\n".join(
        [
            *lines, "", "for torchserve/model-config.yaml, under handler:",
            f"  accept_at: {min(document['accept_at'], 100):g}",
            f"  reject_below: {min(document['reject_below'], 100):g}",
        ]
    )  # fmt: skip
