"""
Build the archive of a registered version, prove it, place it in the model store.

Downloads the version, finds or makes its graph in the wanted precision, checks it against torch,
packs it with `handler/`, proves the archive in a clean interpreter, and only then puts it in place.
A checkpoint in a folder is built the same way, without a registry: equal files, equal bytes.
"""

from __future__ import annotations

import filecmp
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mlflow
from iqa.network import checkpoint
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE
from iqa.tasks.task_table import task_of
from mlflow.entities.model_registry import ModelVersion

from console.default_names import DVC_LOCK
from scripts.archive import graph_choice, mar_file
from scripts.archive.graph_choice import Choice
from scripts.archive.precision_choices import AUTO
from scripts.server.http_client import NotNow
from scripts.server.state import StateDir
from training.data.config import DataConfig
from training.graph import export, precision
from training.networks import by_name as networks
from training.registry import dvc_lock, model_versions
from training.registry.dvc_lock import DATA_HASH

logger = logging.getLogger(__name__)

PROOF: Final = Path(__file__).with_name("prove_scores.py")
PROOF_TIMEOUT_S: Final = 120.0
OF_NO_REGISTRY: Final = "0"
"""Version of an archive that was built from a folder."""


def build(
    version: ModelVersion,
    store: Path,
    *,
    replace: bool,
    wanted: str | None = None,
    data: DataConfig | None = None,
) -> Path:
    """
    Build, prove and place the archive of a version.

    Args:
        version: From the registry.
        store: Folder of archives; made if missing.
        replace: Allow other bytes under the same name, unless a server serves them.
        wanted: Precision; None repeats the version's tag `mar_precision`, or is auto.
        data: Rated pictures for a graph of lower precision that is not stored yet.

    Returns:
        The archive. The version's tags `mar_sha256` and `mar_precision` tell of it.

    Raises:
        ValueError: The version, the graph or the archive is refused; the store is unchanged.
        FileExistsError: An archive with other bytes is there and may not be replaced.
        NotNow: The proof was ended, or takes too long.
        RegistryUnavailable, MlflowException: No answer.
    """
    name, number = str(version.name), str(version.version)
    wanted = wanted or version.tags.get(graph_choice.PRECISION_TAG, AUTO)
    target, chosen, digest = _place(version, None, store, replace, wanted, data)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(name, number, "mar_sha256", digest)
    client.set_model_version_tag(name, number, graph_choice.PRECISION_TAG, chosen)
    return target


def build_unregistered(
    directory: Path, name: str, store: Path, *, replace: bool, evaluated: Path | None = None
) -> Path:
    """
    Build, prove and place the archive of a checkpoint that lies in a folder.

    It is version 0, has no run and the date of the archive's own files, so that its bytes depend on
    the checkpoint and on this code alone. The graph is float32.

    Args:
        directory: The checkpoint.
        name: Of the model.
        store: Folder of archives; made if missing.
        replace: As of `build`.
        evaluated: What `training.evaluate` wrote of it. In a stage of DVC the archive gets the lock
            of the stages behind this file, else behind the checkpoint.

    Returns:
        The archive.

    Raises:
        ValueError: The checkpoint or the archive is refused, or other weights were evaluated.
        FileExistsError: As of `build`.
    """
    card = checkpoint.load_card(directory)
    if evaluated is not None:
        _expect_evaluated(evaluated, card["weights_sha256"], directory)
    created_at = datetime(*mar_file.ZIP_TIME, tzinfo=UTC)
    nothing = ModelVersion(name, OF_NO_REGISTRY, int(created_at.timestamp() * 1000))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(directory, Path(folder) / "checkpoint"))
        origin = dvc_lock.origin_of(evaluated or directory)
        if origin is not None:
            (copy / DVC_LOCK).write_text(origin.lock)
        target, _, _ = _place(nothing, copy, store, replace, "f32", None)
    return target


def _expect_evaluated(evaluated: Path, weights_sha256: str, directory: Path) -> None:
    measured = json.loads(evaluated.read_text()).get("weights_sha256")
    if measured != weights_sha256:
        raise ValueError(
            f"{evaluated}: expected the figures of weights {weights_sha256}, got those of "
            f"{measured}. Run: python -m training.evaluate --model {directory}"
        )


def _place(
    version: ModelVersion,
    directory: Path | None,
    store: Path,
    replace: bool,
    wanted: str,
    data: DataConfig | None,
) -> tuple[Path, str, str]:
    """Build, prove and place; return the archive, the precision of its graph, and its SHA-256."""
    store.mkdir(parents=True, exist_ok=True)
    target = mar_file.mar_path(store, str(version.name), str(version.version))
    # Beside the target, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=store) as folder:
        workspace = Path(folder)
        candidate = workspace / target.name
        chosen = _pack(version, directory, workspace, candidate, wanted, data)
        proof = prove(candidate)
        digest = mar_file.sha256_of(candidate)
        is_there = target.exists() and filecmp.cmp(candidate, target, shallow=False)
        if target.exists() and not is_there:
            _expect_replaceable(target, replace)
        if directory is None:
            # Before the archive is in place: one that is not on record would be refused. And each,
            # for checkouts that share a registry may build other bytes.
            mlflow.MlflowClient().set_model_version_tag(
                str(version.name), str(version.version), mar_file.digest_tag(digest), digest
            )
        if not is_there:
            os.replace(candidate, target)
    scores = ", ".join(
        f"{file} {said:.2f}" if isinstance(said, float) else f"{file} {said}"
        for file, said in proof["answers"].items()
    )
    logger.info("proven with %s %s: %s; sha256 %s", proof["runtime"], chosen, scores, digest)
    return target, chosen, digest


def prove(mar: Path) -> dict[str, Any]:
    """
    Run `prove_scores.py` on an archive in a clean interpreter.

    Raises:
        ValueError: It fails; with the reason.
        NotNow: It takes too long, or was killed: the machine's fault.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(PROOF), str(mar)],
            env={**os.environ, "PREDICTION_LOG": ""},  # a proof is nobody's answer
            capture_output=True,
            text=True,
            timeout=PROOF_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotNow(
            f"{mar.name}: expected its proof within {PROOF_TIMEOUT_S:g} s, got no end of it. "
            "Try again when the machine has less to do."
        ) from error
    if done.returncode < 0:
        raise NotNow(
            f"{mar.name}: expected its proof to end by itself, got signal {-done.returncode}. "
            "If memory was short, free some."
        )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr else "not proven")
    proof: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return proof


def _pack(
    version: ModelVersion,
    directory: Path | None,
    workspace: Path,
    candidate: Path,
    wanted: str,
    data: DataConfig | None,
) -> str:
    """Write the archive of a version, or of a folder; return the precision of its graph."""
    name, number = str(version.name), str(version.version)
    if directory is None:
        directory = model_versions.download(name, number, workspace)
    network, card = networks.load(directory)
    graphs = workspace / "graphs"
    graphs.mkdir()
    candidates = graph_choice.candidates_of(version, wanted, data, graphs, directory, network)
    choice, golden = _first_that_holds(candidates, network, card)
    graph_choice.store(version, choice)
    lock = directory / DVC_LOCK
    mar_file.pack(
        workspace,
        candidate,
        name=name,
        version=number,
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        payload=[*choice.files, *([lock] if lock.is_file() else [])],
        provenance={
            "model": {"name": name, "version": number, "run_id": version.run_id},
            "weights_sha256": card["weights_sha256"],
            "git_commit": card["training"].get("git_commit"),
            "architecture": card["architecture"],
            "preprocessing": card["preprocessing"],
            "task": task_of(card).name,
            "precision": choice.precision,
            "gate": None if choice.gate is None else choice.gate.document(),
            "metrics": card["metrics"],
            "data": card["data"],
            "calibration": card.get("calibration"),
            "interval": card.get("interval"),
            **{name: card[name] for name in ("heads", "causes", "familiarity") if name in card},
            **{key: card["training"][key] for key in (DATA_HASH,) if key in card["training"]},
            "golden": golden,
        },
    )
    return choice.precision


def _first_that_holds(
    candidates: list[Choice], network: Network, card: dict[str, Any]
) -> tuple[Choice, list[dict[str, Any]]]:
    """Return the first graph that agrees with torch on the golden images, and its answers."""
    for choice in candidates[:-1]:
        try:
            return choice, _check(choice, network, card)
        except ValueError as error:
            logger.warning("%s is not taken, the next fastest is: %s", choice.precision, error)
    return candidates[-1], _check(candidates[-1], network, card)


def _check(choice: Choice, network: Network, card: dict[str, Any]) -> list[dict[str, Any]]:
    graph = choice.files[0].parent
    golden = export.check_graph(
        precision.open_graph(graph, choice.precision),
        network,
        mar_file.golden_pictures(),
        export.MAX_SCORE_DIFFERENCE if choice.gate is None else choice.gate.max_points,
        card,
    )
    if "heads" in card and choice.precision != "int8":  # which is served without them
        export.check_taps(
            graph / GRAPH_FILE,
            choice.precision,
            card["heads"]["backbone"],
            mar_file.golden_pictures(),
            card,
        )
    return golden


def _expect_replaceable(target: Path, replace: bool) -> None:
    if not replace:
        raise FileExistsError(
            f"{target}: expected no archive or one with the same bytes, got other bytes. "
            "Add --replace, or train a new version."
        )
    StateDir.from_environment().expect_unserved(target, FileExistsError)
