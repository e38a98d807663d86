"""Register a run's checkpoint as a version, and give it an alias if it is the better one."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import torch
from iqa.network import checkpoint
from mlflow.models import Model

from training.data.ratings import Split
from training.measure.metrics import agreement
from training.measure.predict import predict, torch_predictor
from training.registry import flavor
from training.registry.model_versions import download, holder_of, move_alias

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """
    A version that was just registered.

    Attributes:
        name: Of the registered model.
        version: The registry's integer, as text.
        metrics: {split: {name: number}}.
        digests: {split: digest of its pictures and ratings}.
    """

    name: str
    version: str
    metrics: dict[str, dict[str, Any]]
    digests: dict[str, str]


def register(
    name: str, run_id: str | None, checkpoint_dir: Path, card: checkpoint.Card
) -> Registered:
    """
    Log a checkpoint as a model of a run and register it as the next version.

    Args:
        name: Registered model; made if missing.
        run_id: The active run's; None opens one.
        checkpoint_dir: What is stored.
        card: Its card; metrics and digests become tags, so that versions can be compared.
    """
    digests = card["data"]["digests"]
    info = Model.log(
        artifact_path=None,
        name=name,
        flavor=flavor,
        run_id=run_id,
        registered_model_name=name,
        checkpoint_dir=checkpoint_dir,
    )
    version = str(info.registered_model_version)
    tags = {
        "backbone": card["architecture"]["backbone"],
        "dataset": card["data"]["dataset"],
        "weights_sha256": card["weights_sha256"],
        **{f"digest_{split}": digest for split, digest in digests.items()},
    }
    for split, metrics in card["metrics"].items():
        tags |= {f"{split}_{key}": f"{metrics[key]:.6f}" for key in ("srocc", "rmse_100")}
    if "calibration" in card:  # the same weights with another one give other scores
        fitted = card["calibration"]
        tags["calibration"] = f"{fitted['kind']} {fitted['scale']:.4f} {fitted['offset']:+.4f}"
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    logger.info("registered %s version %s", name, version)
    return Registered(name=name, version=version, metrics=card["metrics"], digests=digests)


def promote_if_better(alias: str, candidate: Registered, val: Split) -> bool:
    """
    Give the alias to a new version if it ranks the validation pictures better than the holder.

    Both are compared on the same pictures and ratings: where the holder was measured on others
    (the shipped model, say) it is evaluated now on the candidate's. A tie in SROCC goes to the
    lower RMSE_100.

    Args:
        alias: To be moved.
        candidate: The new version.
        val: The pictures and ratings that it was measured on.

    Returns:
        Whether the alias moved. Either way the reason is printed.
    """
    new = candidate.metrics["val"]
    holder = holder_of(candidate.name, alias)
    if holder is None:
        reason = f"validation SROCC {new['srocc']:.4f}; nothing held the alias"
        move_alias(candidate.name, alias, candidate.version, reason)
        print(f"{alias} -> version {candidate.version}: {reason}")
        return True
    if holder.tags.get("digest_val") == candidate.digests["val"]:
        old = {key: float(holder.tags[f"val_{key}"]) for key in ("srocc", "rmse_100")}
        measured = "measured on the same validation pictures"
    else:
        try:
            old = _evaluate(candidate.name, str(holder.version), val)
        except ValueError as error:  # another preprocessing, or no checkpoint of this project
            print(
                f"{alias} stays at version {holder.version}, which cannot be compared: {error} "
                f"By hand: python -m scripts.set_alias {candidate.name} {candidate.version} "
                f"--alias {alias}"
            )
            return False
        measured = "evaluated now on the same validation pictures"
    reason = (
        f"validation SROCC {new['srocc']:.4f}, RMSE_100 {new['rmse_100']:.2f} of version "
        f"{candidate.version} against {old['srocc']:.4f}, {old['rmse_100']:.2f} of version "
        f"{holder.version} ({measured})"
    )
    # Tags hold 6 decimals: an equal model must not win by what they leave out.
    if _rank(new) > _rank(old):
        move_alias(candidate.name, alias, candidate.version, reason)
        print(f"{alias} -> version {candidate.version}: better: {reason}")
        return True
    mlflow.MlflowClient().set_model_version_tag(
        candidate.name, candidate.version, f"{alias}_refused", reason
    )
    print(f"{alias} stays at version {holder.version}: not better: {reason}")
    return False


def _rank(metrics: dict[str, Any]) -> tuple[float, float]:
    return round(metrics["srocc"], 6), -round(metrics["rmse_100"], 6)


def _evaluate(name: str, version: str, split: Split) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        network, _ = checkpoint.load(download(name, version, Path(directory)))
    quality = predict(
        torch_predictor(network, torch.device("cpu")), split, title=f"evaluate version {version}"
    )
    return agreement(quality, split.quality)
