"""
The MLflow flavor of this project: a checkpoint as a model, with nothing to unpickle.

`mlflow.pytorch` would log a `pt2` archive or a pickle beside the checkpoint that packaging
needs; this stores the checkpoint alone, and still answers `mlflow.pyfunc.load_model`.
Reason: docs/decisions/0005-own-mlflow-flavor.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from iqa.network import checkpoint
from iqa.tasks.heads import HEADS_FILE
from iqa.tasks.known import task_of
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.models.utils import _save_example
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray

from training.registry.model_versions import CHECKPOINT

FLAVOR: Final = "iqa"


def save_model(path: str, mlflow_model: Model, checkpoint_dir: Path) -> None:
    """Write the model folder; called by `mlflow.models.Model.log`."""
    folder = Path(path)
    (folder / CHECKPOINT).mkdir(parents=True)
    card = checkpoint.load_card(checkpoint_dir)
    names = (
        checkpoint.WEIGHTS_FILE,
        checkpoint.CARD_FILE,
        *([HEADS_FILE] if "heads" in card else []),
    )
    for name in names:
        shutil.copyfile(checkpoint_dir / name, folder / CHECKPOINT / name)
    n_channels = checkpoint.policy_of(card).n_channels
    n_outputs = task_of(card).head(card).n_outputs
    shape = (-1,) if n_outputs == 1 else (-1, n_outputs)
    mlflow_model.signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, n_channels), "pixels_NHWC")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), shape, "outputs")]),
    )
    # A grey ramp; small, because MLflow stores it as text.
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[None, None, :, None]
    example = np.broadcast_to(ramp, (1, 48, 64, n_channels)).copy()
    _save_example(mlflow_model, {"pixels_NHWC": example}, path)
    mlflow_model.add_flavor(FLAVOR, checkpoint=CHECKPOINT)
    pyfunc.add_to_model(mlflow_model, loader_module=__name__, data=CHECKPOINT)
    mlflow_model.save(str(folder / MLMODEL_FILE_NAME))


class _Predictor:
    """What `mlflow.pyfunc.load_model` returns the inside of."""

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


def _load_pyfunc(path: str) -> _Predictor:
    """Open the checkpoint; called by `mlflow.pyfunc.load_model`."""
    return _Predictor(Path(path))
