"""Load the model that a command names: a folder with a checkpoint, or a registered version."""

from __future__ import annotations

import tempfile
from pathlib import Path

from iqa.network import checkpoint
from iqa.network.model import Network

from training.networks import by_name as networks
from training.registry import model_versions
from training.registry.address import connect


def load_model(model: str) -> tuple[Network, checkpoint.Card]:
    """
    Load a checkpoint from a folder or from the registry.

    Raises:
        ValueError: There is none under that name, or it is refused.
    """
    if Path(model).is_dir():
        return networks.load(Path(model))
    connect()
    version = model_versions.version_of_uri(model)
    with tempfile.TemporaryDirectory() as directory:
        folder = model_versions.download(str(version.name), str(version.version), Path(directory))
        return networks.load(folder)
