"""
Build the archive of a registered version, prove it, place it in the model store.

Downloads the version, finds or makes its graph in the wanted precision, checks it against torch,
packs it with `handler/`, proves the archive in a clean interpreter, and only then puts it in place.
"""

from __future__ import annotations

import filecmp
import json
import logging
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mlflow
from iqa.network import checkpoint
from iqa.network.runtime import GRAPH_FILE
from iqa.tasks.known import task_of
from mlflow.entities.model_registry import ModelVersion

from scripts.archive import graph_choice, mar_file
from scripts.server.state import StateDir
from training.data.config import DataConfig
from training.graph import export, precision
from training.registry import model_versions

logger = logging.getLogger(__name__)

PROOF: Final = Path(__file__).with_name("prove.py")
PROOF_TIMEOUT_S: Final = 120.0


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
    """
    store.mkdir(parents=True, exist_ok=True)
    name, number = str(version.name), str(version.version)
    target = mar_file.mar_path(store, name, number)
    # Beside the target, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=store) as folder:
        workspace = Path(folder)
        candidate = workspace / target.name
        wanted = wanted or version.tags.get(graph_choice.PRECISION_TAG, graph_choice.AUTO)
        chosen = _pack(version, workspace, candidate, wanted, data)
        proof = prove(candidate)
        digest = mar_file.sha256_of(candidate)
        if not (target.exists() and filecmp.cmp(candidate, target, shallow=False)):
            if target.exists():
                _expect_replaceable(target, replace)
            os.replace(candidate, target)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(name, number, "mar_sha256", digest)
    client.set_model_version_tag(name, number, graph_choice.PRECISION_TAG, chosen)
    # Checkouts that share a registry may build other bytes: each proven archive is on record.
    client.set_model_version_tag(name, number, mar_file.digest_tag(digest), digest)
    scores = ", ".join(
        f"{file} {said:.2f}" if isinstance(said, float) else f"{file} {said}"
        for file, said in proof["answers"].items()
    )
    logger.info("proven with %s %s: %s; sha256 %s", proof["runtime"], chosen, scores, digest)
    return target


def prove(mar: Path) -> dict[str, Any]:
    """
    Run `prove.py` on an archive in a clean interpreter.

    Raises:
        ValueError: It fails; with the reason.
    """
    done = subprocess.run(
        [sys.executable, "-I", str(PROOF), str(mar)],
        env={**os.environ, "PREDICTION_LOG": ""},  # a proof is nobody's answer
        capture_output=True,
        text=True,
        timeout=PROOF_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr else "not proven")
    proof: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return proof


def _pack(
    version: ModelVersion, workspace: Path, candidate: Path, wanted: str, data: DataConfig | None
) -> str:
    """Write the archive; return the precision of its graph."""
    name, number = str(version.name), str(version.version)
    directory = model_versions.download(name, number, workspace)
    network, card = checkpoint.load(directory)
    graphs = workspace / "graphs"
    graphs.mkdir()
    choice = graph_choice.choose(version, wanted, data, graphs, directory, network)
    golden = export.check_graph(
        precision.open_graph(choice.files[0].parent, choice.precision),
        network,
        mar_file.golden_pictures(),
        export.MAX_SCORE_DIFFERENCE if choice.gate is None else choice.gate.max_points,
        card,
    )
    if "heads" in card and choice.precision != "int8":  # which is served without them
        export.check_taps(
            choice.files[0].parent / GRAPH_FILE,
            choice.precision,
            card["heads"]["backbone"],
            mar_file.golden_pictures(),
            card,
        )
    graph_choice.store(version, choice)
    mar_file.pack(
        workspace,
        candidate,
        name=name,
        version=number,
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        payload=choice.files,
        provenance={
            "model": {"name": name, "version": number, "run_id": version.run_id},
            "weights_sha256": card["weights_sha256"],
            "git_commit": card["training"]["git_commit"],
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
            "golden": golden,
        },
    )
    return choice.precision


def _expect_replaceable(target: Path, replace: bool) -> None:
    if not replace:
        raise FileExistsError(
            f"{target}: expected no archive or one with the same bytes, got other bytes. "
            "Add --replace, or train a new version."
        )
    if StateDir.from_environment().serves(target):
        raise FileExistsError(
            f"{target}: expected an archive that no server serves, got one in use. "
            "Stop it first: scripts/run_torchserve.sh --stop"
        )
