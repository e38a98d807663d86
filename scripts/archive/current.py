"""The archive of a version: taken from the model store, or built where it is missing or stale."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from scripts.archive import mar_file

logger = logging.getLogger(__name__)


def archive_of(
    version: ModelVersion, store: Path, build: Callable[[ModelVersion, Path], object]
) -> Path:
    """
    Return the archive of a version, built by `build` where there is none or it is stale.

    Raises:
        ValueError: The archive is not the one on record.
    """
    target = mar_file.mar_path(store, str(version.name), str(version.version))
    reason = _reason_to_build(target, version)
    if reason is not None:
        logger.info("building %s: %s", target.name, reason)
        build(version, store)
    return target


def _reason_to_build(target: Path, version: ModelVersion) -> str | None:
    """
    Say why the archive has to be built, or None if it can be served as it is.

    Raises:
        ValueError: An archive is there, and its digest is not the one on record.
    """
    if not target.exists():
        return "not in the model store"
    digest = mar_file.sha256_of(target)
    if version.tags.get(mar_file.digest_tag(digest)) == digest:
        changed = mar_file.changed_sources(mar_file.read_provenance(target))
        return f"{', '.join(changed)} changed since" if changed else None
    if "mar_sha256" not in version.tags:
        return "this registry has not built it"
    raise ValueError(
        f"{target.name}: expected sha256 {version.tags['mar_sha256']} as in the registry, got "
        f"{digest}. It was altered or cut. Rebuild: python -m scripts.build_mar --model-name "
        f"{version.name} --version {version.version} --replace --out {target.parent}"
    )
