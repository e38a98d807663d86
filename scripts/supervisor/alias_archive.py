"""Which archive a start serves: what the alias names, built or rebuilt where needed."""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from scripts.archive import last_known_alias, mar_file
from scripts.archive.ensure_archive import archive_of
from scripts.rollout.deployment_records import Good, Records
from scripts.server.http_client import NotNow
from training.registry import model_versions
from training.registry.address import connect, is_embedded, tracking_uri
from training.registry.availability import RegistryUnavailable
from training.registry.shipped import SHIPPED

logger = logging.getLogger(__name__)


class NoArchive(ValueError):
    """A version has no archive that may be served; of other models that says nothing."""


def served_archive(name: str, alias: str, store: Path, known: Records) -> Path:
    """
    Return the archive of the version that the alias names.

    An empty embedded registry gets the shipped checkpoint first. A missing archive is built; one
    that was built from other files of `handler/` is rebuilt. With the registry out of reach, an
    archive that is not published there yet, or a build that the circumstances ended, the last one
    of the store is taken, and it is said.

    Raises:
        ValueError: The alias names nothing.
        NoArchive: The archive is not the one on record, cannot be built, or the store has none to
            fall back on.
    """
    connect(is_patient=False)  # a start does not wait
    try:
        version = _resolve(name, alias)
    except (RegistryUnavailable, MlflowException) as error:
        if not mar_file.archives_of(store, name):
            raise NoArchive(
                f"{error} No archive is in {store} to fall back on. Start MLflow, or set "
                "MLFLOW_TRACKING_URI."
            ) from error
        reason = f"registry {tracking_uri()} does not answer"
        return _last_resort(store, name, alias, known, reason)
    refused = known.read().instead_of(str(version.version))
    if refused is not None:
        return _good_instead(store, name, str(version.version), *refused)
    try:
        target = archive_of(version, store, _build_here).path
    except (NotNow, RegistryUnavailable, MlflowException) as error:
        # A watch takes it once that is over.
        if not mar_file.archives_of(store, name):
            raise NoArchive(f"{error} No archive is in {store} to fall back on.") from error
        return _last_resort(store, name, alias, known, str(error).rstrip("."))
    except (ValueError, OSError, RuntimeError) as error:
        raise NoArchive(str(error)) from error
    last_known_alias.write(name, alias, target)
    return target


def _build_here(version: ModelVersion, store: Path) -> Path:
    from scripts.archive.build import build  # torch, ONNX: only where something is built

    return build(version, store, replace=True)


def _good_instead(store: Path, name: str, refused: str, good: Good, reason: str) -> Path:
    """Return the last good archive: a restart must not serve what a deployment refused."""
    target = store / good.mar
    if not target.exists() or mar_file.sha256_of(target) != good.sha256:
        raise NoArchive(
            f"version {refused} is not to be served ({reason}), and {good.mar}: expected it in the "
            "model store with the SHA-256 on record, got another or none. "
            f"Rebuild: python -m scripts.build_mar --model-name {name} --version {good.version} "
            "--replace"
        )
    logger.warning(
        "version %s is not served: %s. Serving version %s. Follow the alias again: "
        "python -m scripts.deploy sync --model-name %s --retry",
        refused,
        reason,
        good.version,
        name,
    )
    return target


def _resolve(name: str, alias: str) -> ModelVersion:
    if not is_embedded() or name not in SHIPPED:
        return model_versions.resolve(name, alias)
    holder = model_versions.holder_of(name, alias)
    if holder is not None:
        return holder
    if model_versions.has_versions(name):
        return model_versions.resolve(name, alias)  # versions but no alias: not ours to decide
    logger.info("empty registry: registering the shipped checkpoint")
    from training.registry.pretrained import register

    return register(name, alias)


def _last_resort(store: Path, name: str, alias: str, known: Records, reason: str) -> Path:
    """
    Return what the alias named when it was last asked, or else the newest archive.

    In place of one that a deployment refused or an operator held back: the last good one.
    """
    archives = sorted(mar_file.archives_of(store, name), key=lambda path: path.stat().st_mtime)
    chosen = last_known_alias.read(name, alias, store) or archives[-1]
    refused = known.read().instead_of(mar_file.version_of(chosen))
    if refused is not None:
        logger.warning("%s", reason)
        return _good_instead(store, name, mar_file.version_of(chosen), *refused)
    mar_file.read_provenance(chosen)
    logger.warning("%s; serving the last proven archive, %s", reason, chosen.name)
    return chosen
