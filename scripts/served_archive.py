"""Which archive a start serves: what the alias names, built or rebuilt where needed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion

from scripts import archive
from scripts.server_state import STATE_DIR
from training import registry
from training.tracking_uri import connect, is_embedded, tracking_uri

logger = logging.getLogger(__name__)


def served_archive(alias: str, store: Path, name: str = registry.MODEL_NAME) -> Path:
    """
    Return the archive of the version that the alias names.

    An empty embedded registry gets the shipped checkpoint first. A missing archive is built; one
    that was built from other files of `handler/` is rebuilt. With the registry out of reach the
    newest archive of the store is taken, and it is said.

    Raises:
        ValueError: The alias names nothing, or the archive is not the one on record.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a start does not wait
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    connect()
    try:
        version = _resolve(name, alias)
    except registry.RegistryUnavailable as error:
        return _last_resort(store, name, alias, error)
    target = archive.mar_path(store, name, str(version.version))
    reason = _reason_to_build(target, version)
    if reason is not None:
        logger.info("building %s: %s", target.name, reason)
        from scripts.build_mar import build  # torch, ONNX: only where something is built

        build(version, store, replace=True)
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    _memory(alias).write_text(target.name)
    return target


def _resolve(name: str, alias: str) -> ModelVersion:
    if not is_embedded():
        return registry.resolve(name, alias)
    holder = registry.holder_of(name, alias)
    if holder is not None:
        return holder
    if mlflow.MlflowClient().search_model_versions(f"name='{name}'", max_results=1):
        return registry.resolve(name, alias)  # versions but no alias: not ours to decide
    logger.info("empty registry: registering the shipped checkpoint")
    from scripts.register_pretrained import register

    return register(name, alias)


def _reason_to_build(target: Path, version: ModelVersion) -> str | None:
    """
    Say why the archive has to be built, or None if it can be served as it is.

    Raises:
        ValueError: An archive is there, and its digest is not the one on record.
    """
    if not target.exists():
        return "not in the model store"
    digest = archive.sha256_of(target)
    if version.tags.get(archive.digest_tag(digest)) == digest:
        changed = archive.changed_sources(archive.read_provenance(target))
        return f"{', '.join(changed)} changed since" if changed else None
    if "mar_sha256" not in version.tags:
        return "this registry has not built it"
    raise ValueError(
        f"{target.name}: expected sha256 {version.tags['mar_sha256']} as in the registry, got "
        f"{digest}. It was altered or cut. Rebuild: python -m scripts.build_mar --version "
        f"{version.version} --replace --out {target.parent}"
    )


def _last_resort(store: Path, name: str, alias: str, error: Exception) -> Path:
    """Return what the alias named when it was last asked, or else the newest archive."""
    archives = sorted(store.glob(f"{name}-*.mar"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise ValueError(
            f"{error} No archive is in {store} to fall back on. Start MLflow, or set "
            "MLFLOW_TRACKING_URI."
        ) from error
    remembered = _memory(alias).read_text() if _memory(alias).exists() else ""
    chosen = store / remembered if store / remembered in archives else archives[-1]
    archive.read_provenance(chosen)
    logger.warning(
        "registry %s does not answer; serving the last proven archive, %s",
        tracking_uri(),
        chosen.name,
    )
    return chosen


def _memory(alias: str) -> Path:
    """Return the file that holds the archive's name that an alias meant last."""
    return STATE_DIR / f"served-{alias}"
