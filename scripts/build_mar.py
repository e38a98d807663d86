"""
Registry version -> proven archive: `python -m scripts.build_mar [--alias staging | --version N]`.

Downloads the version, exports its graph, checks it against torch, packs it with `handler/`,
proves the archive in a clean interpreter, and only then puts it in place.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import logging
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from iqa import checkpoint
from iqa.runtime import GRAPH_FILE
from mlflow.entities.model_registry import ModelVersion

from scripts import archive, server_state
from training import command_line, export, registry
from training.tracking_uri import ROOT, connect

logger = logging.getLogger(__name__)

PROOF_TIMEOUT_S = 120.0


def main(argv: list[str] | None = None) -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.build_mar",
        description="Build and prove model-store/iqa-<version>.mar from a registered version.",
        epilog="Next: scripts/run_torchserve.sh serves what the alias staging names.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--alias", default=registry.ALIAS, help="version to build (default: %(default)s)"
    )
    which.add_argument("--version", help="version to build, by its number")
    parser.add_argument(
        "--model-name", default=registry.MODEL_NAME, help="registered model (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=archive.MODEL_STORE, help="model store (default: model-store)"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace an archive that has other bytes, unless this checkout's server has it loaded",
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        connect()
        version = (
            registry.get(arguments.model_name, arguments.version)
            if arguments.version
            else registry.resolve(arguments.model_name, arguments.alias)
        )
        print(build(version, arguments.out, replace=arguments.replace))
        return 0

    return command_line.run(command, arguments.debug)


def build(version: ModelVersion, store: Path, *, replace: bool) -> Path:
    """
    Build, prove and place the archive of a version.

    Args:
        version: From the registry.
        store: Folder of archives; made if missing.
        replace: Allow other bytes under the same name, unless a server serves them.

    Returns:
        The archive. The registry's tag `mar_sha256` of the version holds its digest.

    Raises:
        ValueError: The version, the graph or the archive is refused; the store is unchanged.
        FileExistsError: An archive with other bytes is there and may not be replaced.
    """
    store.mkdir(parents=True, exist_ok=True)
    name, number = str(version.name), str(version.version)
    target = archive.mar_path(store, name, number)
    # Beside the target, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=store) as folder:
        workspace = Path(folder)
        candidate = workspace / target.name
        _pack(version, workspace, candidate)
        proof = prove(candidate)
        digest = archive.sha256_of(candidate)
        if not (target.exists() and filecmp.cmp(candidate, target, shallow=False)):
            if target.exists():
                _expect_replaceable(target, replace)
            os.replace(candidate, target)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(name, number, "mar_sha256", digest)
    # Checkouts that share a registry may build other bytes: each proven archive is on record.
    client.set_model_version_tag(name, number, archive.digest_tag(digest), digest)
    scores = ", ".join(f"{file} {score:.2f}" for file, score in proof["scores"].items())
    logger.info("proven with %s: %s; sha256 %s", proof["runtime"], scores, digest)
    return target


def prove(mar: Path) -> dict[str, Any]:
    """
    Run `prove_mar.py` on an archive in a clean interpreter.

    Raises:
        ValueError: It fails; with the reason.
    """
    done = subprocess.run(
        [sys.executable, "-I", str(ROOT / "scripts" / "prove_mar.py"), str(mar)],
        capture_output=True,
        text=True,
        timeout=PROOF_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr else "not proven")
    proof: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return proof


def _pack(version: ModelVersion, workspace: Path, candidate: Path) -> None:
    name, number = str(version.name), str(version.version)
    directory = registry.download(name, number, workspace)
    network, card = checkpoint.load(directory)
    graph = workspace / GRAPH_FILE
    export.export_onnx(network, graph)
    scores = export.check_graph(graph, network, archive.golden_pictures())
    archive.pack(
        workspace,
        candidate,
        name=name,
        version=number,
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        payload=[graph, directory / checkpoint.WEIGHTS_FILE, directory / checkpoint.CARD_FILE],
        provenance={
            "model": {"name": name, "version": number, "run_id": version.run_id},
            "weights_sha256": card["weights_sha256"],
            "git_commit": card["training"]["git_commit"],
            "architecture": card["architecture"],
            "preprocessing": card["preprocessing"],
            "precision": "f32",
            "metrics": card["metrics"],
            "data": card["data"],
            "golden": [{"file": file, "score": round(s, 3)} for file, s in scores.items()],
        },
    )


def _expect_replaceable(target: Path, replace: bool) -> None:
    if not replace:
        raise FileExistsError(
            f"{target}: expected no archive or one with the same bytes, got other bytes. "
            "Add --replace, or train a new version."
        )
    if server_state.serves(target):
        raise FileExistsError(
            f"{target}: expected an archive that no server serves, got one in use. "
            "Stop it first: scripts/run_torchserve.sh --stop"
        )


if __name__ == "__main__":
    sys.exit(main())
