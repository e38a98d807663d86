"""Register a run's checkpoint as a version, and give it an alias if it is the better one."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import torch
from iqa.network import checkpoint
from mlflow.models import Model

from training.data.ratings import Split
from training.measure.predict import predict, torch_predictor
from training.networks import by_name as networks
from training.registry import flavor
from training.registry.model_versions import download, holder_of, move_alias
from training.registry.ranking import metrics_on_validation
from training.tasks.task import Array, TrainingTask
from training.tasks.task_table import training_task_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """
    A version that was just registered.

    Attributes:
        name: Name of the registered model.
        version: The registry's integer, as text.
        task: What it does.
        metrics: {split: {name: number}}.
        digests: {split: digest of its images and targets}.
    """

    name: str
    version: str
    task: TrainingTask
    metrics: dict[str, dict[str, Any]]
    digests: dict[str, str]


def register(
    name: str,
    run_id: str | None,
    checkpoint_dir: Path,
    card: checkpoint.Card,
    graph_dir: Path | None = None,
) -> Registered:
    """
    Log a checkpoint as a model of a run and register it as the next version.

    Args:
        name: Registered model; made if missing.
        run_id: The active run's; None opens one.
        checkpoint_dir: What is stored.
        card: Its card; metrics and digests become tags, so that versions can be compared.
        graph_dir: See `training.registry.flavor.save_model`.
    """
    digests, task = card["data"]["digests"], training_task_of(card)
    info = Model.log(
        artifact_path=None,
        name=name,
        flavor=flavor,
        run_id=run_id,
        registered_model_name=name,
        checkpoint_dir=checkpoint_dir,
        graph_dir=graph_dir,
    )
    version = str(info.registered_model_version)
    tags = {
        "task": task.name,
        "backbone": card["architecture"]["backbone"],
        "dataset": card["data"]["dataset"],
        "weights_sha256": card["weights_sha256"],
        **{f"digest_{split}": digest for split, digest in digests.items()},
    }
    for split, metrics in card["metrics"].items():
        tags |= {f"{split}_{key}": f"{metrics[key]:.6f}" for key in task.rank_keys}
    if "calibration" in card:  # the same weights with another one give other scores
        tags["calibration"] = _in_one_line(card["calibration"])
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    logger.info("registered %s version %s", name, version)
    return Registered(
        name=name, version=version, task=task, metrics=card["metrics"], digests=digests
    )


def promote_if_better(alias: str, candidate: Registered, val: Split) -> bool:
    """
    Give the alias to a new version if it is better on the validation images than the holder.

    Both are compared on the same images and targets: where the holder was measured on others
    (the shipped model, say) it is evaluated now on the candidate's. Which is better, the task says,
    by its metrics or by a test of both networks' answers to each image.

    Args:
        alias: The alias to move.
        candidate: The new version.
        val: The images and targets that it was measured on.

    Returns:
        Whether the alias moved. Either way the reason is printed.
    """
    task = candidate.task
    new = _rounded(task, candidate.metrics["val"])
    holder = holder_of(candidate.name, alias)
    if holder is None:
        reason = f"validation {task.sentence(new)}; nothing held the alias"
        move_alias(candidate.name, alias, candidate.version, reason)
        print(f"{alias} -> version {candidate.version}: {reason}")
        return True
    try:
        if task.has_paired_test:
            is_better, reason = _tested(candidate, str(holder.version), val)
        elif holder.tags.get("digest_val") == candidate.digests["val"]:
            old = metrics_on_validation(holder, task)
            measured = "measured on the same validation images"
        else:
            old = _rounded(task, _evaluate(candidate.name, str(holder.version), task, val))
            measured = "evaluated now on the same validation images"
    except ValueError as error:  # another task or preprocessing, or no checkpoint of this project
        print(
            f"{alias} stays at version {holder.version}, which cannot be compared: {error} "
            f"By hand: python -m scripts.set_alias {candidate.name} {candidate.version} "
            f"--alias {alias}"
        )
        return False
    if not task.has_paired_test:
        is_better = task.rank(new) > task.rank(old)
        reason = (
            f"validation {task.sentence(new)} of version {candidate.version} against "
            f"{task.sentence(old)} of version {holder.version} ({measured})"
        )
    if is_better:
        move_alias(candidate.name, alias, candidate.version, reason)
        print(f"{alias} -> version {candidate.version}: better: {reason}")
        return True
    mlflow.MlflowClient().set_model_version_tag(
        candidate.name, candidate.version, f"{alias}_refused", reason
    )
    print(f"{alias} stays at version {holder.version}: not better: {reason}")
    return False


def _in_one_line(fitted: Mapping[str, Any]) -> str:
    if "temperature" in fitted:
        return f"{fitted['kind']} {fitted['temperature']:.4f}"
    return f"{fitted['kind']} {fitted['scale']:.4f} {fitted['offset']:+.4f}"


def _rounded(task: TrainingTask, metrics: Mapping[str, Any]) -> dict[str, float]:
    # Tags hold 6 decimals: an equal model must not win by what they leave out.
    return {key: round(metrics[key], 6) for key in task.rank_keys}


def _tested(candidate: Registered, holder: str, val: Split) -> tuple[bool, str]:
    """Return whether the candidate is better by the task's own test, and why."""
    task = candidate.task
    new, new_card = _predicted(candidate.name, candidate.version, task, val)
    old, old_card = _predicted(candidate.name, holder, task, val)
    verdict = task.is_better(new, old, val.target, (new_card, old_card))
    assert verdict is not None  # the task says that it has a test
    is_better, words = verdict
    return is_better, f"validation of version {candidate.version} against version {holder}: {words}"


def _evaluate(name: str, version: str, task: TrainingTask, split: Split) -> dict[str, float]:
    outputs, _ = _predicted(name, version, task, split)
    return task.metrics(outputs, split.target)


def _predicted(
    name: str, version: str, task: TrainingTask, split: Split
) -> tuple[Array, checkpoint.Card]:
    """Return a version's outputs for some images, and its card."""
    with tempfile.TemporaryDirectory() as directory:
        network, card = networks.load(download(name, version, Path(directory)))
    own = training_task_of(card)
    if own.name != task.name:
        raise ValueError(
            f"version {version}: expected a model of {task.name}, got one of {own.name}."
        )
    split = split.seen_by(checkpoint.policy_of(card))
    outputs = predict(
        torch_predictor(network, torch.device("cpu")), split, title=f"evaluate version {version}"
    )
    return outputs, card
