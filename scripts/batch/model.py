"""
The model that scores: the shipped one, an archive, or what an alias names; opened without torch.

MLflow is imported for an alias alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from console.paths import ROOT
from scripts.archive import mar_file
from scripts.batch.worker import Settings

SHIPPED: Final = "shipped"
PRETRAINED: Final = ROOT / "training" / "pretrained"
CARD: Final = "model.json"
WEIGHTS: Final = "model.safetensors"
HEADS: Final = "model.heads.safetensors"
GATE: Final = "gate.json"
RUNTIME_OF_DEVICE: Final = {"cpu": "openvino", "cuda": "torch"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """
    A model, unpacked.

    Attributes:
        name: As registered.
        version: Of the registry; `shipped` for the one in this checkout.
        sha256: Of the archive; of the shipped model, of its graph and card together.
        folder: Holds graph and card.
        code: Holds the package `iqa`.
        limits: `max_bytes` and `max_pixels`, as the server has them.
    """

    name: str
    version: str
    sha256: str
    folder: Path
    code: Path
    limits: dict[str, int]

    def settings(self, root: str, device: str) -> Settings:
        """Return what a worker is started with; see `Settings`."""
        return Settings(
            model=str(self.folder), code=str(self.code), root=root,
            runtime=RUNTIME_OF_DEVICE[device], **self.limits,
        )  # fmt: skip

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.name} version {self.version} ({self.sha256[:12]})"


def open_model(
    wanted: str, device: str, folder: Path, *, model_name: str = "iqa", store: Path | None = None
) -> Model:
    """
    Find a model and unpack it.

    Args:
        wanted: `shipped`, a file that ends in `.mar`, or an alias of the registry.
        device: cpu or cuda.
        folder: Emptied, and filled with the model.
        model_name: Registered model, for an alias.
        store: Model store that holds the alias's archive, or gets it; None: the checkout's.

    Raises:
        FileNotFoundError: There is no such archive.
        ValueError: The archive is damaged, the alias names nothing, or its archive is refused.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if wanted == SHIPPED:
        return _shipped(device, folder)
    if wanted.endswith(".mar"):
        return _archive(Path(wanted), folder)
    return _archive(_archive_of_alias(model_name, wanted, store or mar_file.MODEL_STORE), folder)


def _shipped(device: str, folder: Path) -> Model:
    """Lay out the checkpoint's graph as an archive has it; for a GPU, the checkpoint itself."""
    card = json.loads((PRETRAINED / CARD).read_text())
    for name in (CARD, HEADS):
        shutil.copyfile(PRETRAINED / name, folder / name)
    if device == "cuda":
        files = {WEIGHTS: card["weights_sha256"]}
        shutil.copyfile(PRETRAINED / WEIGHTS, folder / WEIGHTS)
    else:
        place = PRETRAINED / "precision" / "bf16"
        gate = json.loads((place / GATE).read_text())
        if gate["weights_sha256"] != card["weights_sha256"]:
            raise ValueError(f"{place}: expected a graph of the weights in {CARD}, got another's.")
        files = gate["graph_sha256"]
        for name in files:
            shutil.copyfile(place / name, folder / name)
        provenance = {"precision": gate["precision"]}
        (folder / mar_file.PROVENANCE).write_text(json.dumps(provenance))
    files = {**files, HEADS: card["heads"]["sha256"]}
    _expect_digests(folder, files)
    parts = [*sorted(files.values()), mar_file.sha256_of(folder / CARD)]
    return Model(
        name="iqa", version=SHIPPED, sha256=hashlib.sha256("".join(parts).encode()).hexdigest(),
        folder=folder, code=mar_file.HANDLER_DIR, limits=_limits(mar_file.MODEL_CONFIG),
    )  # fmt: skip


def _archive(path: Path, folder: Path) -> Model:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected an archive, found none. Build one: python -m scripts.build_mar"
        )
    provenance = mar_file.read_provenance(path)
    with zipfile.ZipFile(path) as packed:
        packed.extractall(folder)
    _expect_digests(folder, provenance["sha256"])
    told = provenance["model"]
    return Model(
        name=told["name"], version=told["version"], sha256=mar_file.sha256_of(path),
        folder=folder, code=folder, limits=_limits(folder / mar_file.MODEL_CONFIG.name),
    )  # fmt: skip


def _archive_of_alias(model_name: str, alias: str, store: Path) -> Path:
    """Return the proven archive of what an alias names; built where it is missing or stale."""
    try:
        from scripts.archive.ensure_archive import archive_of
        from training.registry import model_versions
        from training.registry.address import connect
    except ImportError as error:
        raise ValueError(
            f"--model {alias}: expected MLflow, which knows the alias, got: {error}. Give an "
            f"archive (--model FILE.mar), or --model {SHIPPED}."
        ) from error

    def build_here(version: Any, into: Path) -> Path:
        from scripts.archive.build import build  # torch, ONNX: only where something is built

        return build(version, into, replace=True)

    connect()
    return archive_of(model_versions.resolve(model_name, alias), store, build_here).path


def _expect_digests(folder: Path, digests: dict[str, str]) -> None:
    for name, expected in digests.items():
        got = mar_file.sha256_of(folder / name)
        if got != expected:
            raise ValueError(
                f"model, {name}: expected sha256 {expected[:12]}, got {got[:12]}. It was altered "
                "or cut: take the file anew."
            )


def _limits(config: Path) -> dict[str, int]:
    handler: dict[str, Any] = yaml.safe_load(config.read_text())["handler"]
    return {name: int(handler[name]) for name in ("max_bytes", "max_pixels")}
