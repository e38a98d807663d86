"""
Which graph goes into an archive: float32, or one of lower precision that has passed its gate.

A graph of lower precision is made once, from pictures, and stored with the version's run. Later
builds fetch it, so they need no data and give the same bytes.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlflow
from iqa.imaging.preprocessing import Policy
from iqa.network import checkpoint, runtime
from iqa.network.model import Network
from iqa.network.names import is_own
from iqa.network.runtime import GRAPH_FILE, PRECISIONS
from iqa.tasks.heads import HEADS_FILE
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from scripts.archive.precision_choices import AUTO
from training.data import ratings
from training.data.config import DataConfig
from training.graph import export, precision
from training.graph.precision import GATE_FILE, Gate
from training.tasks.task_table import training_task_of

logger = logging.getLogger(__name__)

PRECISION_TAG: Final = "mar_precision"
ARTIFACTS: Final = "precision"
"""Folder among the run's artifacts; one folder in it for each precision."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """
    A graph to pack.

    Attributes:
        precision: f32, bf16 or int8.
        files: The model's files, as they go into the archive.
        gate: What it was measured to do; None for f32, which is exact.
        is_new: It was made now, and is not yet stored with the version.
    """

    precision: str
    files: list[Path]
    gate: Gate | None
    is_new: bool = False


def candidates_of(
    version: ModelVersion,
    wanted: str,
    data: DataConfig | None,
    folder: Path,
    directory: Path,
    network: Network,
) -> list[Choice]:
    """
    Find or make the graphs of a version that pass their gates.

    Args:
        version: From the registry.
        wanted: One of `precision_choices.CHOICES`; auto means all that can be had.
        data: To make and measure graphs that are not stored yet; None where there is no data.
        folder: Empty, for graphs.
        directory: The version's checkpoint.
        network: Loaded from it.

    Returns:
        The fastest on this machine first; one alone unless `wanted` is auto.

    Raises:
        ValueError: The precision that was asked for does not pass its gate, or is not stored and
            there is no data to make it from.
    """
    card = checkpoint.load_card(directory)
    sha256, policy, task = (
        card["weights_sha256"],
        checkpoint.policy_of(card),
        training_task_of(card),
    )
    float32 = folder / "f32"
    float32.mkdir()
    shutil.copyfile(directory / checkpoint.WEIGHTS_FILE, float32 / checkpoint.WEIGHTS_FILE)
    export.export_onnx(network, float32 / GRAPH_FILE, float32 / checkpoint.WEIGHTS_FILE)
    names = PRECISIONS if wanted == AUTO else (wanted,)
    candidates: dict[str, tuple[Path, Gate | None]] = {}
    made: set[str] = set()
    loaded = (
        None
        if data is None
        else ratings.load(data, ("train", "val"), task.targets_of(card), policy)
    )
    for name in names:
        if name == "f32":
            candidates[name] = float32, None
            continue
        if wanted == AUTO and name == "bf16" and not runtime.has_bf16():
            continue  # it would compute in float32
        if wanted == AUTO and name == "bf16" and is_own(network.backbone):
            continue  # its layers are not known: `precision.make` refuses it
        place = folder / name
        gate = _stored(version, name, place, sha256)
        if gate is None and loaded is not None:
            place.mkdir()
            gate = precision.make(name, task, network, sha256, loaded, place)
            made.add(name)
        if gate is None:
            if wanted != AUTO:
                raise ValueError(
                    f"precision {name}: expected rated pictures to make and measure the graph, "
                    "got none. Add --dataset and --data-dir, or --precision f32."
                )
            continue
        if not gate.passed and wanted != AUTO:
            raise ValueError(
                f"precision {name}: expected the scores of float32, got {gate.sentence()}. "
                "Nothing is built. Use another precision, or auto."
            )
        candidates[name] = place, gate
    more = [directory / checkpoint.CARD_FILE]
    if "heads" in card:
        more.append(directory / HEADS_FILE)
    return [
        Choice(
            precision=name,
            files=[*sorted(file for file in place.iterdir() if file.name != GATE_FILE), *more],
            gate=gate,
            is_new=name in made,
        )
        for name in ([wanted] if wanted != AUTO else _fastest_first(candidates, policy))
        for place, gate in [candidates[name]]
    ]


def store(version: ModelVersion, choice: Choice) -> None:
    """
    Keep a graph that was made now with the version's run, for builds without data.

    Args:
        version: From the registry; one without a run, or whose run is gone, keeps nothing.
        choice: Once nothing speaks against it any more: a later build takes it as it is.
    """
    if not choice.is_new or not version.run_id:
        return
    try:
        mlflow.MlflowClient().log_artifacts(
            str(version.run_id), str(choice.files[0].parent), f"{ARTIFACTS}/{choice.precision}"
        )
    except MlflowException as error:  # the archive is whole without
        logger.warning(
            "precision %s: its graph is not kept with the version: %s",
            choice.precision, error.message,
        )  # fmt: skip


def _fastest_first(candidates: dict[str, tuple[Path, Gate | None]], policy: Policy) -> list[str]:
    """Time each, say what was seen, and return those that passed."""
    times_ms = {}
    for name, (place, gate) in candidates.items():
        ms = precision.ms_per_picture(precision.open_graph(place, name), policy)
        says = "exact" if gate is None else gate.sentence()
        verdict = "" if gate is None or gate.passed else ": refused"
        logger.info("%-4s %6.1f ms a picture; %s%s", name, ms, says, verdict)
        if gate is None or gate.passed:
            times_ms[name] = ms
    return sorted(times_ms, key=lambda name: times_ms[name])


def _stored(version: ModelVersion, name: str, place: Path, weights_sha256: str) -> Gate | None:
    """Fetch a graph that was made before, or None."""
    if not version.run_id:  # registered from a folder, without a run
        return None
    try:
        stored = mlflow.MlflowClient().list_artifacts(str(version.run_id), f"{ARTIFACTS}/{name}")
        if not stored:
            return None
        fetched = mlflow.artifacts.download_artifacts(
            run_id=str(version.run_id),
            artifact_path=f"{ARTIFACTS}/{name}",
            dst_path=str(place.parent / "fetched"),
        )
    except MlflowException as error:
        logger.warning("precision %s: its stored graph cannot be read: %s", name, error.message)
        return None
    shutil.copytree(fetched, place)
    return precision.read_gate(place, weights_sha256)
