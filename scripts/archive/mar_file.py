"""
The MAR file: what goes in, how it is packed, what an existing one says of itself.

torch-model-archiver lays the folder out and writes the manifest; the zip is made here, because
the archiver's own differs from one build to the next (times, order).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from console.default_names import DVC_LOCK
from console.paths import ROOT

HANDLER_DIR: Final = ROOT / "handler"
HANDLER_FILE: Final = "iqa_handler.py"
MODEL_CONFIG: Final = ROOT / "torchserve" / "model-config.yaml"
# Under TorchServe's own path for `torch`, see there.
STAND_IN: Final = ROOT / "torchserve" / "torch_stand_in.py"
STAND_IN_NAME: Final = "torch.py"
MODEL_STORE: Final = ROOT / "model-store"
PROVENANCE: Final = "provenance.json"
MANIFEST: Final = "MAR-INF/MANIFEST.json"
ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)


def mar_path(store: Path, name: str, version: str) -> Path:
    """Return where a version's archive lies; a name is never used for other bytes."""
    return store / f"{name}-{version}.mar"


def version_of(mar: Path) -> str:
    """Return the version in an archive's name."""
    return mar.stem.rpartition("-")[2]


def archives_of(store: Path, name: str) -> list[Path]:
    """Return a model's archives in a store; those of `iqa-2` are not those of `iqa`."""
    pattern = re.compile(rf"{re.escape(name)}-\d+\.mar")
    return [path for path in sorted(store.glob("*.mar")) if pattern.fullmatch(path.name)]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Reading:
    """
    A file that was read once from end to end.

    Its digest is known from then on without reading it again, as long as it is still that file:
    another one under its name has another inode, one that was written to another time (unless it
    was written twice within one tick of the file system's clock, some milliseconds).

    Args:
        path: The file.

    Attributes:
        path: The same.
        sha256: Digest of its content, in hexadecimal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = self._look()  # first: what is replaced while it is read is noticed too
        self.sha256 = sha256_of(path)

    def is_current(self) -> bool:
        """Tell whether the file was neither replaced nor written to since it was read."""
        try:
            return self._look() == self._identity
        except FileNotFoundError:
            return False

    def _look(self) -> tuple[int, ...]:
        found = self.path.stat()
        # The time of the last change of the inode cannot be set by hand, that of the content can.
        times = found.st_mtime_ns, found.st_ctime_ns
        return found.st_dev, found.st_ino, found.st_size, *times


def digest_tag(digest: str) -> str:
    """Return the model version's tag that records a proven archive."""
    return f"mar_sha256_{digest[:12]}"


def source_digests() -> dict[str, str]:
    """Return the SHA-256 of each file of `handler/`, the configuration, and the stand-in."""
    files = {
        str(path.relative_to(HANDLER_DIR)): path
        for path in sorted(HANDLER_DIR.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[MODEL_CONFIG.name] = MODEL_CONFIG
    files[STAND_IN_NAME] = STAND_IN
    return {name: sha256_of(path) for name, path in files.items()}


def golden_pictures() -> list[Path]:
    """Return the pictures that every archive carries and is proven with."""
    return sorted((HANDLER_DIR / "golden").glob("*.jpg"))


def pack(
    workspace: Path,
    target: Path,
    *,
    name: str,
    version: str,
    created_at: datetime,
    payload: list[Path],
    provenance: dict[str, Any],
) -> None:
    """
    Write an archive: `handler/`, the payload, the configuration and the provenance.

    Args:
        workspace: An empty folder of our own; the archiver deletes and makes folders in it.
        target: The file to write. Same arguments and sources, same bytes.
        name: Registered model.
        version: The registry's integer, as text.
        created_at: Goes into the manifest, in place of the time of the build.
        payload: Files of the model; the graph is among them.
        provenance: Written as `provenance.json`, with the digest of every other file added.
    """
    # Only where something is packed: a server reads archives, and its image has no `iqa`.
    from iqa.network.runtime import GRAPH_FILE, QUANTISED_GRAPH_FILE

    stage = workspace / "stage"
    shutil.copytree(HANDLER_DIR, stage, ignore=shutil.ignore_patterns("__pycache__", HANDLER_FILE))
    shutil.copyfile(STAND_IN, stage / STAND_IN_NAME)
    graph = next(path for path in payload if path.name in (GRAPH_FILE, QUANTISED_GRAPH_FILE))
    for path in payload:
        if path != graph:
            shutil.copyfile(path, stage / path.name)
    digests = source_digests() | {path.name: sha256_of(path) for path in payload}
    document = {**provenance, "sha256": digests}
    (stage / PROVENANCE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    folder = _run_archiver(workspace, stage, graph, name, version)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["createdOn"] = created_at.astimezone(UTC).strftime("%d/%m/%Y %H:%M:%S")
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    _zip(folder, target)


def read_provenance(mar: Path) -> dict[str, Any]:
    """
    Return what an archive says of itself.

    Raises:
        ValueError: It is no archive of this project, or is damaged.
    """
    try:
        with zipfile.ZipFile(mar) as archive:
            document: dict[str, Any] = json.loads(archive.read(PROVENANCE))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, OSError) as error:
        raise ValueError(
            f"{mar}: expected an archive with {PROVENANCE}, got: {error}. Delete the file, or "
            "rebuild it: python -m scripts.build_mar --version N --replace"
        ) from error
    return document


def changed_sources(provenance: dict[str, Any]) -> list[str]:
    """Return the files of `handler/` that differ between an archive and this checkout."""
    packed: dict[str, str] = provenance["sha256"]
    model_files = {name for name in packed if name.startswith("model.") or name == DVC_LOCK}
    here = source_digests()
    names = sorted((set(packed) - model_files) | set(here))
    return [name for name in names if packed.get(name) != here.get(name)]


def _run_archiver(workspace: Path, stage: Path, graph: Path, name: str, version: str) -> Path:
    export = workspace / "export"
    export.mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "model_archiver.model_packaging",
            "--model-name", name,
            "--version", version,
            "--handler", str(HANDLER_DIR / HANDLER_FILE),
            "--serialized-file", str(graph),
            "--extra-files", str(stage),  # a folder's content is copied, its sub-folders kept
            "--config-file", str(MODEL_CONFIG),
            "--archive-format", "no-archive",
            "--export-path", str(export),
        ],
        # The archiver works in $TMPDIR/<name>, which it deletes first: two builds would collide.
        env={**os.environ, "TMPDIR": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"torch-model-archiver: {(done.stderr or done.stdout).strip()[-500:]}")
    return export / name


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*"), key=lambda path: str(path.relative_to(folder))):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), ZIP_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
