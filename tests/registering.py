"""Registers untrained networks that claim to be of some quality."""

from __future__ import annotations

from pathlib import Path

import mlflow
from iqa.network import checkpoint

from tests.conftest import make_checkpoint
from training.registry import promotion


def register(folder: Path, srocc: float = 0.5, rmse: float = 20.0, digest: str = "b" * 64):
    """Register an untrained network that claims these validation metrics."""
    make_checkpoint(folder, srocc=srocc)
    card = checkpoint.load_card(folder)
    card["metrics"]["val"]["rmse_100"] = rmse
    card["data"]["digests"]["val"] = digest
    with mlflow.start_run():
        return promotion.register("iqa", None, folder, card)
