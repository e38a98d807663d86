"""Checkpoint -> int8 graph, by NNCF's post-training quantisation."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import openvino
from iqa.network.model import Network
from iqa.network.openvino_core import core
from torch import Tensor

from training.graph.export import export_onnx


def quantise(network: Network, pictures: list[Tensor], path: Path) -> None:
    """
    Write the network with 8-bit weights and activations.

    Args:
        network: In evaluation mode, on the CPU.
        pictures: About 300 real ones, uint8 (H, W, 3), preprocessed.
        path: The XML file; the weights are written beside it, as `.bin`.
    """
    # NNCF reports its use to its makers unless told not to, on import.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf  # takes seconds, and is needed by nobody else

    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        export_onnx(network, graph)
        model = core().read_model(graph)
    dataset = nncf.Dataset([picture[None].numpy() for picture in pictures])
    # The head, the only product of matrices, stays in float: it costs nothing, and rounding the
    # average before it would make the quality map inexact (iqa.network.logit_map).
    # A user's network may have no such product, or more of them.
    head = nncf.IgnoredScope(types=["MatMul"], validate=False)
    quantised = nncf.quantize(model, dataset, subset_size=len(pictures), ignored_scope=head)
    gc.collect()  # a core that NNCF leaves must end in this thread, see iqa.network.openvino_core
    openvino.save_model(quantised, path)
