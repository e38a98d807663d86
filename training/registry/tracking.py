"""The MLflow side of a run: parameters, metrics, data, code and environment."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas

from console.default_names import DVC_LOCK
from console.paths import ROOT
from training.data.ratings import Ratings
from training.registry.address import tracking_uri

PACKAGES: Final = ("torch", "torchvision", "numpy", "pillow", "mlflow")


@contextmanager
def run(experiment: str, name: str, run_id: str | None, parent_id: str | None) -> Iterator[str]:
    """
    Open a run, or an interrupted one again.

    Args:
        experiment: Made if missing.
        name: For people; ignored when a run is reopened.
        run_id: The run to continue.
        parent_id: The sweep that it belongs to.

    Yields:
        The run's id. An exception inside marks the run as failed; Ctrl-C as killed.
    """
    select_experiment(experiment)
    with mlflow.start_run(
        run_id=run_id, run_name=None if run_id else name, parent_run_id=parent_id
    ) as active:
        try:
            yield str(active.info.run_id)
        except (KeyboardInterrupt, SystemExit):
            mlflow.end_run("KILLED")
            raise


def select_experiment(name: str) -> None:
    """Make the experiment if it is missing; an embedded store keeps artifacts beside it."""
    if mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, artifact_location=_artifact_location())
    mlflow.set_experiment(name)


def _artifact_location() -> str | None:
    """Return `mlartifacts` beside an SQLite file; a server knows its own place."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:///"):
        return None
    folder = Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts"
    return folder.as_uri()


def describe(
    settings: dict[str, Any], provenance: dict[str, str], ratings: Ratings, digests: dict[str, str]
) -> None:
    """
    Log what the open run is made of, before its first step.

    Args:
        settings: Its parameters.
        provenance: Its tags: commit, packages, starting weights.
        ratings: Its splits, each logged as an MLflow data set.
        digests: Digests of each split's images and ratings.
    """
    mlflow.log_params({key: str(value) for key, value in settings.items()})
    mlflow.set_tags(provenance | {f"digest_{name}": digest for name, digest in digests.items()})
    for name, split in ratings.splits.items():
        table = pd.DataFrame({"image_name": split.names, "target": split.target})
        data = from_pandas(table, name=f"{ratings.name}-{name}", digest=digests[name][:16])
        mlflow.log_input(data, context=name)


def provenance() -> dict[str, str]:
    """
    Return what a run was made with: git commit (empty outside git), Python, packages.

    Every run of DVC writes its lock: that alone does not make a checkout dirty.
    """
    facts = {name: version(name) for name in PACKAGES}
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_is_dirty": str(
            bool(_git("status", "--porcelain", "--", ".", f":!{DVC_LOCK}"))
        ).lower(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **facts,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
