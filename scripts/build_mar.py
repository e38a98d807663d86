"""
Registry version -> proven archive: `python -m scripts.build_mar [--alias staging | --version N]`.

Downloads the version, finds or makes its graph in the wanted precision, checks it against torch,
packs it with `handler/`, proves the archive in a clean interpreter, and only then puts it in place.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from iqa.score import ScoreScale
from mlflow.entities.model_registry import ModelVersion

from scripts import archive, graph_choice, server_state
from training import command_line, export, precision, registry
from training.config import DataConfig, add_options, data_config
from training.tracking_uri import ROOT, add_tracking_uri, connect

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
    parser.add_argument(
        "--precision", choices=graph_choice.CHOICES,
        help="what the graph computes in. auto is the fastest here of those that keep the scores: "
        "SROCC may drop 0.002, 99 %% of scores may move 0.5 point (bf16) or 1 point (int8). bf16 "
        "and int8 are made from rated pictures: give --data-dir (default: what the version was "
        "built in before, else auto)",
    )  # fmt: skip
    pictures = parser.add_argument_group(
        "rated pictures, to make and measure a graph of lower precision; once for each version"
    )
    add_options(pictures, DataConfig)
    parser.set_defaults(data_dir=None)
    add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        connect()
        version = (
            registry.get(arguments.model_name, arguments.version)
            if arguments.version
            else registry.resolve(arguments.model_name, arguments.alias)
        )
        target = build(
            version,
            arguments.out,
            replace=arguments.replace,
            wanted=arguments.precision,
            data=data_config(arguments) if arguments.data_dir else None,
        )
        print(target)
        return 0

    return command_line.run(command, arguments.debug)


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
    target = archive.mar_path(store, name, number)
    # Beside the target, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=store) as folder:
        workspace = Path(folder)
        candidate = workspace / target.name
        wanted = wanted or version.tags.get(graph_choice.PRECISION_TAG, graph_choice.AUTO)
        chosen = _pack(version, workspace, candidate, wanted, data)
        proof = prove(candidate)
        digest = archive.sha256_of(candidate)
        if not (target.exists() and filecmp.cmp(candidate, target, shallow=False)):
            if target.exists():
                _expect_replaceable(target, replace)
            os.replace(candidate, target)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(name, number, "mar_sha256", digest)
    client.set_model_version_tag(name, number, graph_choice.PRECISION_TAG, chosen)
    # Checkouts that share a registry may build other bytes: each proven archive is on record.
    client.set_model_version_tag(name, number, archive.digest_tag(digest), digest)
    scores = ", ".join(f"{file} {score:.2f}" for file, score in proof["scores"].items())
    logger.info("proven with %s %s: %s; sha256 %s", proof["runtime"], chosen, scores, digest)
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


def _pack(
    version: ModelVersion, workspace: Path, candidate: Path, wanted: str, data: DataConfig | None
) -> str:
    """Write the archive; return the precision of its graph."""
    name, number = str(version.name), str(version.version)
    directory = registry.download(name, number, workspace)
    network, card = checkpoint.load(directory)
    graphs = workspace / "graphs"
    graphs.mkdir()
    choice = graph_choice.choose(version, wanted, data, graphs, directory, network)
    golden = export.check_graph(
        precision.open_graph(choice.files[0].parent, choice.precision),
        network,
        archive.golden_pictures(),
        precision.MAX_POINTS.get(choice.precision, export.MAX_SCORE_DIFFERENCE),
        ScoreScale.of_card(card),
    )
    graph_choice.store(version, choice)
    archive.pack(
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
            "precision": choice.precision,
            "gate": None if choice.gate is None else dataclasses.asdict(choice.gate),
            "metrics": card["metrics"],
            "data": card["data"],
            "calibration": card.get("calibration"),
            "interval": card.get("interval"),
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
    if server_state.serves(target):
        raise FileExistsError(
            f"{target}: expected an archive that no server serves, got one in use. "
            "Stop it first: scripts/run_torchserve.sh --stop"
        )


if __name__ == "__main__":
    sys.exit(main())
