"""
Checkpoint -> ONNX graph, checked against torch on real pictures.

No weight is stored twice: the float32 graph points into the checkpoint's file beside it, and the
bfloat16 graph holds 16 bits a weight.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from iqa.imaging.decoding import decode
from iqa.network.checkpoint import WEIGHTS_FILE
from iqa.network.model import QualityNetwork
from iqa.network.runtime import Runtime
from iqa.tasks.score import ScoreScale
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.graph.rounding import RoundedNetwork

logger = logging.getLogger(__name__)

OPSET: Final = 18
MAX_SCORE_DIFFERENCE: Final = 0.01


def export_onnx(network: QualityNetwork, path: Path, weights: Path | None = None) -> None:
    """
    Write the network as ONNX: uint8 (N, H, W, 3) in, float32 quality (N,) out, N, H, W free.

    Args:
        network: In evaluation mode, on the CPU.
        path: Of the file. Same network, same bytes.
        weights: The network's `model.safetensors`. If given, the graph points into it, and works
            where that file lies beside it.
    """
    _trace(network, path)
    if weights is not None:
        model = onnx.load(str(path))
        _point_into(model, weights)
        onnx.save(model, str(path))


def export_bf16(network: RoundedNetwork, path: Path) -> None:
    """
    Write a rounded network as ONNX, its weights in the 16 bits that they need.

    Args:
        network: Exact in bfloat16.
        path: Of the file. Same network, same bytes.
    """
    _trace(network, path)
    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 2:
            continue
        bits = np.ascontiguousarray(values).view(np.uint32)
        if np.any(bits & 0xFFFF):  # the head and the normalisation stay float32
            continue
        name, stored = tensor.name, f"{tensor.name}_bf16"
        raw = (bits >> 16).astype("<u2").tobytes()
        tensor.CopyFrom(
            helper.make_tensor(stored, TensorProto.BFLOAT16, values.shape, raw, raw=True)
        )
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _trace(network: nn.Module, path: Path) -> None:
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but takes 3 s where its successor takes 25; torch
        # is pinned, and the graph is checked below.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            # Batch norms stay as they are: the weights keep the checkpoint's names and values.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["pixels_NHWC"],
            output_names=["quality"],
            dynamic_axes={"pixels_NHWC": {0: "N", 1: "H", 2: "W"}, "quality": {0: "N"}},
        )
    onnx.checker.check_model(str(path))


def _point_into(model: onnx.ModelProto, weights: Path) -> None:
    """Replace each tensor that the safetensors file holds by its place in that file."""
    with weights.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        places = json.loads(file.read(header_bytes))
        content = file.read()
    for tensor in model.graph.initializer:
        place = places.get(tensor.name)
        if place is None:
            continue
        first, end = place["data_offsets"]
        if numpy_helper.to_array(tensor).tobytes() != content[first:end]:
            raise ValueError(
                f"{weights}: expected the network's {tensor.name}, got other values. "
                "Export the checkpoint that was loaded."
            )
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {
            "location": WEIGHTS_FILE,
            "offset": 8 + header_bytes + first,
            "length": end - first,
        }
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))


def check_graph(
    runtime: Runtime,
    network: QualityNetwork,
    pictures: list[Path],
    max_points: float,
    scale: ScoreScale | None = None,
) -> list[dict[str, str | float]]:
    """
    Compare the graph with the network on real pictures, one at a time and in a batch.

    Args:
        runtime: With the graph.
        network: In evaluation mode, on the CPU.
        pictures: Files that `iqa` can score.
        max_points: By how much a score may differ.
        scale: Of the network's card; without one the network's own quality is the score.

    Returns:
        For each picture its `file` name, `score` as the graph gives it, and `score_f32` as torch
        does, in [0, 100].

    Raises:
        ValueError: A score differs by more.
    """
    scale = scale or ScoreScale()
    scores: list[dict[str, str | float]] = []
    for path in pictures:
        pixels = torch.from_numpy(decode(path.read_bytes()).pixels().copy())
        with torch.inference_mode():
            expected = scale.score(float(network(pixels[None])))
        alone = scale.score(float(runtime.quality(pixels[None].numpy())[0]))
        twice = runtime.quality(pixels[None].expand(2, -1, -1, -1).numpy())
        for got in (alone, *(scale.score(float(quality)) for quality in twice)):
            if not abs(got - expected) <= max_points:
                raise ValueError(
                    f"graph: expected the score {expected:.4f} within {max_points:g} for "
                    f"{path.name}, got {got:.4f}. The archive is not built. If the graph is of "
                    "lower precision, use --precision f32."
                )
        scores.append(
            {"file": path.name, "score": round(alone, 3), "score_f32": round(expected, 3)}
        )
    return scores
