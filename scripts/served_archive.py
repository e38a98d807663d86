"""Which archive a start serves: what the alias names, built or rebuilt where needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion

from scripts import archive, archive_note, deployment_state
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
    connect(is_patient=False)  # a start does not wait
    try:
        version = _resolve(name, alias)
    except registry.RegistryUnavailable as error:
        return _last_resort(store, name, alias, error)
    refused = deployment_state.read().instead_of(str(version.version))
    if refused is not None:
        return _good_instead(store, str(version.version), *refused)
    target = archive_of(version, store, _build_here).path
    archive_note.write(alias, target)
    return target


def archive_of(
    version: ModelVersion,
    store: Path,
    build: Callable[[ModelVersion, Path], object],
    reading: archive.Reading | None = None,
) -> archive.Reading:
    """
    Return the archive of a version, read; built by `build` where there is none or it is stale.

    Args:
        version: From the registry.
        store: Model store.
        build: Puts the archive into the store.
        reading: Of the archive that is there, where it was read already.

    Raises:
        ValueError: The archive is not the one on record.
    """
    target = archive.mar_path(store, str(version.name), str(version.version))
    if reading is None and target.exists():
        reading = archive.Reading(target)
    if reading is None:
        reason: str | None = "not in the model store"
    else:
        reason = _reason_to_build(reading, version)
    if reading is not None and reason is None:
        return reading
    logger.info("building %s: %s", target.name, reason)
    build(version, store)
    return archive.Reading(target)


def _build_here(version: ModelVersion, store: Path) -> Path:
    from scripts.build_mar import build  # torch, ONNX: only where something is built

    return build(version, store, replace=True)


def _good_instead(store: Path, refused: str, good: deployment_state.Good, reason: str) -> Path:
    """Return the last good archive: a restart must not serve what a deployment refused."""
    target = store / good.mar
    if not target.exists() or archive.sha256_of(target) != good.sha256:
        raise ValueError(
            f"version {refused} is not to be served ({reason}), and {good.mar}: expected it in the "
            "model store with the SHA-256 on record, got another or none. "
            f"Rebuild: python -m scripts.build_mar --version {good.version} --replace"
        )
    logger.warning(
        "version %s is not served: %s. Serving version %s. Follow the alias again: "
        "python -m scripts.deploy sync --retry",
        refused,
        reason,
        good.version,
    )
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


def _reason_to_build(reading: archive.Reading, version: ModelVersion) -> str | None:
    """
    Say why the archive has to be built, or None if it can be served as it is.

    Raises:
        ValueError: An archive is there, and its digest is not the one on record.
    """
    target, digest = reading.path, reading.sha256
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
    chosen = archive_note.read(alias, store) or archives[-1]
    archive.read_provenance(chosen)
    logger.warning(
        "registry %s does not answer; serving the last proven archive, %s",
        tracking_uri(),
        chosen.name,
    )
    return chosen
