"""
Archives that travel by the registry: one machine builds, proves and publishes, the others take it.

An archive is an artifact of its version's run, in a folder that is called like its SHA-256, and the
version's tag `mar_uri` is its address: bytes and digest change in one step. Taking needs MLflow and
no torch. IQA_ARCHIVES=registry (or --from-registry) makes a machine take and never build.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from scripts.archive import mar_file
from scripts.server.http_client import NotNow
from scripts.server.state import StateDir

logger = logging.getLogger(__name__)

VARIABLE: Final = "IQA_ARCHIVES"
REGISTRY: Final = "registry"
URI_TAG: Final = "mar_uri"
ARTIFACTS: Final = "archives"


def is_source() -> bool:
    """
    Tell whether archives are taken from the registry here.

    Raises:
        NotNow: IQA_ARCHIVES is neither empty nor `registry`, for which no version is to blame.
    """
    said = os.environ.get(VARIABLE, "")
    if said not in ("", REGISTRY):
        raise NotNow(
            f"{VARIABLE}: expected {REGISTRY} or nothing, got {said!r}. Unset it to build here."
        )
    return said == REGISTRY


def publish(version: ModelVersion, mar: Path) -> str:
    """
    Store a proven archive with its version.

    Args:
        version: From the registry, after the build: the digest is on record in its tags.
        mar: The archive.

    Returns:
        Its address.

    Raises:
        ValueError: The archive is not on record as proven, or the version has no run to keep it.
    """
    name, number = str(version.name), str(version.version)
    digest = mar_file.sha256_of(mar)
    if version.tags.get(mar_file.digest_tag(digest)) != digest:
        raise ValueError(
            f"{mar}: expected an archive that was proven for {name} version {number}, got another. "
            f"Build it: {_command(version)}"
        )
    if not version.run_id:
        raise ValueError(
            f"{name} version {number}: expected a version with a run, which keeps its archive, got "
            "none. Register it by training.train."
        )
    folder = f"{ARTIFACTS}/{digest}"
    address = f"runs:/{version.run_id}/{folder}/{mar.name}"
    client = mlflow.MlflowClient()
    client.log_artifact(str(version.run_id), str(mar), folder)
    # Last: whoever reads the tag finds the bytes.
    client.set_model_version_tag(name, number, URI_TAG, address)
    return address


def digest_of(version: ModelVersion) -> str:
    """
    Return the SHA-256 of the archive that is published for a version.

    Raises:
        NotNow: None is, yet.
        ValueError: The tag is no such address, or of an archive that was not proven.
    """
    address = version.tags.get(URI_TAG)
    if address is None:
        raise NotNow(
            f"{version.name} version {version.version}: expected a published archive, got none. "
            f"Publish it where it is built: {_command(version)}"
        )
    digest = PurePosixPath(address).parent.name
    if version.tags.get(mar_file.digest_tag(digest)) != digest:
        raise ValueError(
            f"{version.name} version {version.version}, tag {URI_TAG}: expected the address of an "
            f"archive that is on record as proven, got {address!r}. Publish it anew: "
            f"{_command(version)}"
        )
    return digest


def take(version: ModelVersion, store: Path) -> Path:
    """
    Download the published archive of a version, check its digest, put it in place by a rename.

    Args:
        version: From the registry.
        store: Folder of archives; made if missing.

    Raises:
        NotNow: None is published yet, its store does not answer, or a server serves other bytes
            of that name.
        ValueError: Other bytes came than were published. The store is unchanged.
    """
    digest = digest_of(version)
    address = version.tags[URI_TAG]
    store.mkdir(parents=True, exist_ok=True)
    target = mar_file.mar_path(store, str(version.name), str(version.version))
    # Beside the target, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=store) as folder:
        try:
            fetched = Path(mlflow.artifacts.download_artifacts(address, dst_path=folder))
        except MlflowException as error:
            raise NotNow(
                f"{target.name}: expected to download {address}, got: {error.message} Or the disk "
                "is full, or access is denied. Check these, and try again."
            ) from error
        got = mar_file.sha256_of(fetched)
        if got != digest:
            raise ValueError(
                f"{address}: expected sha256 {digest}, got {got}. It was altered or cut. Publish "
                f"it anew: {_command(version)}"
            )
        if target.exists():
            StateDir.from_environment().expect_unserved(target, NotNow)
        os.replace(fetched, target)
    logger.info("%s: taken from the registry, sha256 %s", target.name, digest)
    return target


def _command(version: ModelVersion) -> str:
    return (
        f"python -m scripts.build_mar --model-name {version.name} --version {version.version} "
        "--publish"
    )
