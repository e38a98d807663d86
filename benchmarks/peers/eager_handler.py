"""The stock way to serve a torch network: BaseHandler, and one method of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from iqa.imaging.decoding import decode
from ts.torch_handler.base_handler import BaseHandler


class EagerHandler(BaseHandler):  # type: ignore[misc]  # TorchServe has no types
    """`initialize`, `inference` and `postprocess` are TorchServe's."""

    def preprocess(self, data: list[dict[str, Any]]) -> torch.Tensor:
        """
        Decode a batch.

        Returns:
            uint8, shape (N, H, W, 3), RGB; the pictures of a batch must be equally large.
        """
        bodies = [row.get("data") or row.get("body") for row in data]
        pixels = [decode(bytes(body or b"")).pixels() for body in bodies]
        return torch.from_numpy(np.stack(pixels))
