"""
The model registry, both ways: register a version, move an alias, find and download a version.

An alias is resolved once per command; from then on the version's number is used.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import torch
from iqa import checkpoint
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from training import flavor
from training.metrics import agreement
from training.predict import predict, torch_judge
from training.ratings import Split

logger = logging.getLogger(__name__)

MODEL_NAME: Final = "iqa"
ALIAS: Final = "staging"


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
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    logger.info("registered %s version %s", name, version)
    return Registered(name=name, version=version, metrics=card["metrics"], digests=digests)


def resolve(name: str, alias: str) -> ModelVersion:
    """
    Return the version that an alias names.

    Raises:
        ValueError: The model or the alias does not exist.
    """
    found = holder_of(name, alias)
    if found is None:
        raise ValueError(
            f"alias '{alias}' of model '{name}': expected a model version, found none in "
            f"{mlflow.get_registry_uri()}. "
            f"Run: python -m scripts.set_alias {name} VERSION --alias {alias}"
        )
    return found


def holder_of(name: str, alias: str) -> ModelVersion | None:
    """Return the version that an alias names, or None."""
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise ValueError(f"registry {mlflow.get_registry_uri()}: {error.message}") from error


def get(name: str, version: str) -> ModelVersion:
    """
    Return a version.

    Raises:
        ValueError: It does not exist.
    """
    try:
        return mlflow.MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        raise ValueError(
            f"model '{name}': expected a version, got {version!r}: {error.message} "
            "List them: python -m scripts.model_info --all"
        ) from error


def download(name: str, version: str, directory: Path) -> Path:
    """
    Copy a version's checkpoint into a folder.

    Returns:
        The folder that holds `model.safetensors` and `model.json`, byte for byte as logged.

    Raises:
        ValueError: The version was not made by this project, or its files are gone.
    """
    try:
        fetched = mlflow.artifacts.download_artifacts(
            f"models:/{name}/{version}/{flavor.CHECKPOINT}", dst_path=str(directory)
        )
    except (MlflowException, OSError) as error:
        raise ValueError(
            f"model '{name}' version {version}: expected a folder {flavor.CHECKPOINT} with its "
            f"checkpoint, got: {error}"
        ) from error
    return Path(fetched)


def move_alias(name: str, alias: str, version: str, reason: str) -> str | None:
    """
    Point an alias at a version and remember the holder before it.

    MLflow keeps no history of an alias, so the version carries it: tags `previous_<alias>` and
    `<alias>_reason`.

    Returns:
        The previous holder's version, or None.
    """
    client = mlflow.MlflowClient()
    before = holder_of(name, alias)
    previous = None if before is None else str(before.version)
    if previous is not None and previous != version:
        client.set_model_version_tag(name, version, f"previous_{alias}", previous)
    client.set_model_version_tag(name, version, f"{alias}_reason", reason)
    client.set_registered_model_alias(name, alias, version)
    return previous


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
        old = _evaluate(candidate.name, str(holder.version), val)
        measured = "evaluated now on the same validation pictures"
    reason = (
        f"validation SROCC {new['srocc']:.4f}, RMSE_100 {new['rmse_100']:.2f} of version "
        f"{candidate.version} against {old['srocc']:.4f}, {old['rmse_100']:.2f} of version "
        f"{holder.version} ({measured})"
    )
    if (round(new["srocc"], 6), -new["rmse_100"]) > (round(old["srocc"], 6), -old["rmse_100"]):
        move_alias(candidate.name, alias, candidate.version, reason)
        print(f"{alias} -> version {candidate.version}: better: {reason}")
        return True
    mlflow.MlflowClient().set_model_version_tag(
        candidate.name, candidate.version, f"{alias}_refused", reason
    )
    print(f"{alias} stays at version {holder.version}: not better: {reason}")
    return False


def _evaluate(name: str, version: str, split: Split) -> dict[str, float]:
    directory = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))
    try:
        network, _ = checkpoint.load(directory / flavor.CHECKPOINT)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    quality = predict(
        torch_judge(network, torch.device("cpu")), split, title=f"evaluate version {version}"
    )
    return agreement(np.asarray(quality), split.quality)
