"""
The MLflow flavor of this project: a checkpoint as a model, with nothing to unpickle.

A logged model holds the checkpoint, for packaging; the graph where one is stored with it; and the
code of `iqa`, so that MLflow's own tools score pictures where this project is not installed
(`iqa.local.table`). Reasons: docs/decisions/0005-own-mlflow-flavor.md and 0025.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import iqa
import numpy as np
import pandas as pd
import torch
import yaml
from iqa.local import table
from iqa.network import checkpoint
from iqa.network.runtime import PROVENANCE_FILE
from iqa.tasks.heads import HEADS_FILE
from iqa.tasks.task_table import QUALITY, task_of
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.utils import _save_example
from mlflow.types import Schema
from mlflow.types.schema import Array, ColSpec, DataType
from mlflow.utils.environment import (
    _CONDA_ENV_FILE_NAME,
    _PYTHON_ENV_FILE_NAME,
    _REQUIREMENTS_FILE_NAME,
)
from numpy.typing import NDArray
from PIL import Image

from console.default_names import DVC_LOCK
from training.registry.model_versions import CHECKPOINT

FLAVOR: Final = "iqa"
CODE: Final = "code"
PACKAGES: Final = ("mlflow", "numpy", "pandas", "pillow", "pi-heif")
WITH_GRAPH: Final = ("openvino", "safetensors")
WITHOUT_GRAPH: Final = ("openvino", "torch", "torchvision", "safetensors")


def save_model(
    path: str, mlflow_model: Model, checkpoint_dir: Path, graph_dir: Path | None = None
) -> None:
    """
    Write the model folder; called by `mlflow.models.Model.log`.

    Args:
        path: Of the folder.
        mlflow_model: Gets signature, example, flavors.
        checkpoint_dir: Weights and card, and of a run of DVC its lock.
        graph_dir: A graph of the same weights that has passed its gate, in a folder named after
            its precision; None runs the weights themselves, which needs torch.
    """
    folder = Path(path)
    (folder / CHECKPOINT).mkdir(parents=True)
    card = checkpoint.load_card(checkpoint_dir)
    more = [HEADS_FILE] if "heads" in card else []
    more += [DVC_LOCK] if (checkpoint_dir / DVC_LOCK).is_file() else []
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE, *more):
        shutil.copyfile(checkpoint_dir / name, folder / CHECKPOINT / name)
    if graph_dir is not None:
        shutil.copytree(graph_dir, folder / table.GRAPH)
        told = {"model": {"name": "iqa", "version": "logged"}, "precision": graph_dir.name}
        (folder / table.GRAPH / PROVENANCE_FILE).write_text(json.dumps(told) + "\n")
    shutil.copytree(
        Path(str(iqa.__file__)).parent, folder / CODE / "iqa",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    mlflow_model.signature = _signature(task_of(card).name)
    _save_example(mlflow_model, pd.DataFrame({table.COLUMN: [_example()]}), path)
    _write_requirements(folder, WITHOUT_GRAPH if graph_dir is None else WITH_GRAPH)
    mlflow_model.add_flavor(FLAVOR, checkpoint=CHECKPOINT)
    pyfunc.add_to_model(
        mlflow_model, loader_module=table.__name__, code=CODE, conda_env=_CONDA_ENV_FILE_NAME,
        python_env=_PYTHON_ENV_FILE_NAME,
    )  # fmt: skip
    mlflow_model.save(str(folder / MLMODEL_FILE_NAME))


def _signature(task: str) -> ModelSignature:
    """Say what goes in and comes out; a column of strings is taken with bytes in it as well."""
    inputs = Schema([ColSpec(DataType.string, table.COLUMN)])
    if task != QUALITY.name:
        return ModelSignature(inputs=inputs)
    outputs = Schema(
        [
            ColSpec(DataType.string, "reason", required=False),
            ColSpec(DataType.string, "message", required=False),
            ColSpec(DataType.double, "score"),
            ColSpec(DataType.string, "label", required=False),
            ColSpec(Array(DataType.double), "interval", required=False),
            ColSpec(DataType.double, "coverage", required=False),
            ColSpec(Array(DataType.string), "warnings"),
        ]
    )
    return ModelSignature(inputs=inputs, outputs=outputs)


def _example() -> str:
    """Return a grey ramp as base64 of a PNG; small, because MLflow stores it as text."""
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8), (48, 64))
    file = io.BytesIO()
    Image.fromarray(ramp.copy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _write_requirements(folder: Path, more: tuple[str, ...]) -> None:
    """Pin what the code in the folder imports, as it is installed here."""
    # Without what follows a plus sign: a build for one CUDA is not on every index.
    pins = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in (*PACKAGES, *more)]
    (folder / _REQUIREMENTS_FILE_NAME).write_text("\n".join(pins) + "\n")
    python = platform.python_version()
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pins}],
    }
    virtualenv = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": [f"-r {_REQUIREMENTS_FILE_NAME}"],
    }
    (folder / _CONDA_ENV_FILE_NAME).write_text(yaml.safe_dump(conda))
    (folder / _PYTHON_ENV_FILE_NAME).write_text(yaml.safe_dump(virtualenv))


class _PixelPredictor:
    """What versions logged before 2026-11-29 load: pixels in, the network's outputs out."""

    def __init__(self, checkpoint_dir: Path) -> None:
        self._network, _ = checkpoint.load(checkpoint_dir)

    def predict(self, pixels: Any, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Return the outputs for uint8 pixels (N, H, W, C), or for a dict that holds them."""
        array = pixels["pixels_NHWC"] if isinstance(pixels, dict) else pixels
        with torch.inference_mode():
            outputs: NDArray[np.float32] = self._network(
                torch.from_numpy(np.array(array, dtype=np.uint8))
            ).numpy()
        return outputs


def _load_pyfunc(path: str) -> _PixelPredictor:
    """Open the checkpoint of an older version; their `MLmodel` names this module."""
    return _PixelPredictor(Path(path))
