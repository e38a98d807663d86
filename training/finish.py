"""The end of a run: a network calibrated, tested, and written with a card that tells both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import torch
from iqa import checkpoint
from iqa.model import QualityNetwork
from iqa.score import ScoreScale

from training import calibrate, findings, plots
from training.predict import predict, torch_judge
from training.ratings import Ratings


def finish(
    directory: Path,
    network: QualityNetwork,
    data: Ratings,
    digests: dict[str, str],
    training: dict[str, Any],
    *,
    device: torch.device,
    workers: int,
) -> checkpoint.Card:
    """
    Calibrate a network on validation, test it, save it; log metrics and plots to the open run.

    Args:
        directory: Of the checkpoint; files in it are replaced.
        network: As trained.
        data: Its pictures.
        digests: Of the splits.
        training: How it was made, for the card.
        device: Where it is judged.
        workers: Processes that decode.

    Returns:
        The card as written. Without calibration and interval where there are too few pictures.
    """
    network.to(device)
    measured: dict[str, dict[str, Any]] = {}
    scores: dict[str, Any] = {}
    for name in ("val", "test"):
        split = data.splits[name]
        judge = torch_judge(network, device)
        quality = predict(judge, split, workers=workers, title=name)
        # On validation a calibration would be measured on the pictures that it was fitted on.
        scale = ScoreScale.of_card(scores if name == "test" else {})
        measured[name] = findings.measure(quality, split.quality, scale)
        if name == "val":
            scores = calibrate.fit_if_possible(quality, split)
        numbers = {k: v for k, v in measured[name].items() if isinstance(v, float)}
        for part in ("calibrated", "interval"):
            told = measured[name].get(part, {})
            numbers |= {f"{part}_{k}": v for k, v in told.items() if isinstance(v, float)}
        mlflow.log_metrics({f"best_{name}_{k}": v for k, v in numbers.items()})
        figure = plots.predicted_against_rated(quality, split.quality, title=f"{name} split")
        mlflow.log_figure(figure, f"plots/{name}.png")
    return checkpoint.save(
        directory,
        network,
        {
            **scores,
            "metrics": measured,
            "data": {
                "dataset": data.name,
                "mos_range": list(data.mos_range),
                "is_official_split": data.is_official,
                "counts": data.counts(),
                "digests": digests,
            },
            "training": training,
        },
    )
