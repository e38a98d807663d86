"""
The archive of a version: that of the model store, or built where it is missing or stale.

Where archives come from the registry, the published one is right, and nothing is built.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mlflow.entities.model_registry import ModelVersion

from scripts.archive import archives_in_registry, mar_file
from training.registry import model_versions

logger = logging.getLogger(__name__)

ABANDONED_S: Final = 3600.0
"""Age from which the folder of a build or a download is a leftover: none takes that long."""


def archive_of(
    version: ModelVersion,
    store: Path,
    build: Callable[[ModelVersion, Path], object],
    reading: mar_file.Reading | None = None,
) -> mar_file.Reading:
    """
    Return the archive of a version, read; built by `build` where there is none or it is stale.

    Args:
        version: From the registry.
        store: Model store.
        build: Puts the archive into the store.
        reading: Reading of the archive that is there, where it was read already.

    Raises:
        ValueError: The archive is not the one on record, or not the one published.
        NotNow: It is to come from the registry, and is not published yet, or out of reach.
        RegistryUnavailable: Whether it is on record by now cannot be asked.
    """
    target = mar_file.mar_path(store, str(version.name), str(version.version))
    if reading is None and target.exists():
        reading = mar_file.Reading(target)
    if archives_in_registry.is_source():
        if reading is None or reading.sha256 != archives_in_registry.digest_of(version):
            _remove_leftovers(store)
            reading = mar_file.Reading(archives_in_registry.take(version, store))
        return reading
    if reading is None:
        reason: str | None = "not in the model store"
    else:
        reason = _reason_to_build(reading, version)
    if reading is not None and reason is None:
        return reading
    logger.info("building %s: %s", target.name, reason)
    _remove_leftovers(store)
    build(version, store)
    return mar_file.Reading(target)


def _remove_leftovers(store: Path) -> None:
    """Remove what builds and downloads that were killed have left."""
    for folder in store.glob(".build-*"):
        with contextlib.suppress(FileNotFoundError):  # it ended just now
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _reason_to_build(reading: mar_file.Reading, version: ModelVersion) -> str | None:
    """
    Say why the archive has to be built, or None if it can be served as it is.

    Raises:
        ValueError: An archive is there, and its digest is not the one on record.
        RegistryUnavailable: No answer to whether it is by now.
    """
    target, digest, tags = reading.path, reading.sha256, version.tags
    if tags.get(mar_file.digest_tag(digest)) != digest and "mar_sha256" in tags:
        # Another process may have built it since the version was asked for.
        tags = model_versions.get(str(version.name), str(version.version)).tags
    if tags.get(mar_file.digest_tag(digest)) == digest:
        changed = mar_file.changed_sources(mar_file.read_provenance(target))
        return f"{', '.join(changed)} changed since" if changed else None
    if "mar_sha256" not in tags:
        return "this registry has not built it"
    raise ValueError(
        f"{target.name}: expected sha256 {tags['mar_sha256']} as in the registry, got "
        f"{digest}. It was altered or cut. Rebuild: python -m scripts.build_mar --model-name "
        f"{version.name} --version {version.version} --replace --out {target.parent}"
    )
