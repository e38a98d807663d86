"""The network as TorchServe's stock loader wants it: one class, no arguments."""

from __future__ import annotations

import json
from pathlib import Path

from iqa.network.model import ImageNetwork


class EagerNetwork(ImageNetwork):
    """The archive's network, with random weights until the stock loader fills them in."""

    def __init__(self) -> None:
        card = json.loads(Path(__file__).with_name("model.json").read_text())
        architecture = card["architecture"]
        super().__init__(architecture["backbone"], pooling=architecture["pooling"])
