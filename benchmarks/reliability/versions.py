"""Versions of the model that cost no training and no build: altered copies of version 1."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import mlflow

from console.default_names import MODEL_NAME
from scripts.archive import mar_file

Change = Callable[[str, bytes], bytes]
"""(name, content) of a file of the archive -> its content in the copy."""


def add_version(store: Path, change: Change | None = None, model_name: str = MODEL_NAME) -> str:
    """
    Register one more version whose archive is a copy of version 1's, and on record as proven.

    Args:
        store: Model store; the archive of version 1 is there.
        change: Applied to each file of the archive.
        model_name: Registered model.

    Returns:
        Its number.
    """
    client = mlflow.MlflowClient()
    first = client.get_model_version(model_name, "1")
    model_id = str(first.source).removeprefix("models:/")
    added = client.create_model_version(model_name, str(first.source), model_id=model_id)
    version = str(added.version)
    source = mar_file.mar_path(store, model_name, "1")
    copy_archive(source, mar_file.mar_path(store, model_name, version), model_name, version, change)
    put_on_record(store, version, model_name)
    return version


def copy_archive(
    source: Path, target: Path, model_name: str, version: str, change: Change | None = None
) -> None:
    """Copy an archive as that of another model or version."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == mar_file.PROVENANCE:
                document = json.loads(content)
                document["model"] |= {"name": model_name, "version": version}
                content = json.dumps(document).encode()
            if item.filename == mar_file.MANIFEST:
                document = json.loads(content)
                document["model"] |= {"modelName": model_name, "modelVersion": version}
                content = json.dumps(document).encode()
            new.writestr(item.filename, change(item.filename, content) if change else content)


def put_on_record(store: Path, version: str, model_name: str = MODEL_NAME) -> None:
    """Tag a version with the digest of its archive, as build_mar does."""
    digest = mar_file.sha256_of(mar_file.mar_path(store, model_name, version))
    client = mlflow.MlflowClient()
    client.set_model_version_tag(model_name, version, "mar_sha256", digest)
    client.set_model_version_tag(model_name, version, mar_file.digest_tag(digest), digest)


def unloadable(name: str, content: bytes) -> bytes:
    """Make the workers of a version die while they load it."""
    is_config = name == mar_file.MODEL_CONFIG.name
    return content.replace(b"runtime: auto", b"runtime: none") if is_config else content


def not_golden(name: str, content: bytes) -> bytes:
    """Put scores on record that the version does not give."""
    if name != mar_file.PROVENANCE:
        return content
    document = json.loads(content)
    for item in document["golden"]:
        item["score"] += 0.1
    return json.dumps(document).encode()
