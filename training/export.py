"""Checkpoint -> ONNX graph, checked against torch on real pictures."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Final

import onnx
import torch
from iqa.decoding import decode
from iqa.model import QualityNetwork
from iqa.preprocessing import preprocess
from iqa.runtime import OpenVINORuntime

logger = logging.getLogger(__name__)

OPSET: Final = 18
MAX_SCORE_DIFFERENCE: Final = 0.01


def export_onnx(network: QualityNetwork, path: Path) -> None:
    """
    Write the network as ONNX: uint8 (N, H, W, 3) in, float32 quality (N,) out, N, H, W free.

    Args:
        network: In evaluation mode, on the CPU.
        path: Of the file. Same network, same bytes.
    """
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but takes 3 s where its successor takes 25, and
        # folds the batch norms; torch is pinned, and the graph is checked below.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels_NHWC"],
            output_names=["quality"],
            dynamic_axes={"pixels_NHWC": {0: "N", 1: "H", 2: "W"}, "quality": {0: "N"}},
        )
    onnx.checker.check_model(str(path))


def check_graph(graph: Path, network: QualityNetwork, pictures: list[Path]) -> dict[str, float]:
    """
    Compare the graph with the network on real pictures, one at a time and in a batch.

    Args:
        graph: The ONNX file.
        network: In evaluation mode, on the CPU.
        pictures: Files that `iqa` can score.

    Returns:
        The network's score of each picture by file name, in [0, 100].

    Raises:
        ValueError: A score differs by more than `MAX_SCORE_DIFFERENCE`.
    """
    runtime = OpenVINORuntime(graph, threads=torch.get_num_threads())
    scores = {}
    for path in pictures:
        pixels = torch.from_numpy(preprocess(decode(path.read_bytes()).image).copy())
        with torch.inference_mode():
            expected = 100 * float(network(pixels[None]))
        for got in 100 * runtime.quality(pixels[None].expand(2, -1, -1, -1).numpy()):
            if not abs(float(got) - expected) <= MAX_SCORE_DIFFERENCE:
                raise ValueError(
                    f"graph: expected the score {expected:.4f} for {path.name}, got {got:.4f}. "
                    "The export changed the network; the archive is not built."
                )
        scores[path.name] = expected
    return scores
