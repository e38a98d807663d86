"""
Checkpoint -> ONNX graph, checked against torch on real pictures.

No weight is stored twice: the float32 graph points into the checkpoint's file beside it, and the
bfloat16 graph holds 16 bits a weight.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from iqa.imaging.decoding import decode
from iqa.network.checkpoint import WEIGHTS_FILE, Card, policy_of
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime, Runtime
from iqa.tasks.task import in_words
from iqa.tasks.task_table import task_of
from onnx import TensorProto, helper, numpy_helper

from training.graph.rounding import RoundedNetwork

logger = logging.getLogger(__name__)

OPSET: Final = 18
MAX_SCORE_DIFFERENCE: Final = 0.01
MAX_OUTPUT_DIFFERENCE: Final = 1e-3


def export_onnx(network: Network, path: Path, weights: Path | None = None) -> None:
    """
    Write the network as ONNX: uint8 (N, H, W, C) in, its outputs as float32 out.

    N is free, and so are H and W where the network takes any size.

    Args:
        network: In evaluation mode, on the CPU.
        path: The file to write. Same network, same bytes.
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
        path: The file to write. Same network, same bytes.
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


def _trace(network: Network | RoundedNetwork, path: Path) -> None:
    example = torch.zeros(2, *network.example_px, network.n_channels, dtype=torch.uint8)
    free = {0: "N", 1: "H", 2: "W"} if network.takes_any_size else {0: "N"}
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
            output_names=["outputs"],
            dynamic_axes={"pixels_NHWC": free, "outputs": {0: "N"}},
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


def try_export(network: Network) -> None:
    """
    Refuse a network that cannot be served, before hours of training.

    Args:
        network: Stays as it is, random numbers included.

    Raises:
        ValueError: It has no graph, or its graph gives other outputs than torch.
    """
    rng = np.random.default_rng(0)
    shape = (3, *network.example_px, network.n_channels)
    pixels_NHWC = rng.integers(0, 256, shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        path = Path(folder) / GRAPH_FILE
        try:
            copied = copy.deepcopy(network).cpu().eval()
            export_onnx(copied, path)
            runtime = OpenVINORuntime(path, 1)
            got = runtime.outputs(pixels_NHWC)
            alone = runtime.outputs(pixels_NHWC[:1])
        except Exception as error:  # of torch, onnx or OpenVINO: each has its own
            said = (str(error).strip() or "no reason").splitlines()[0]
            raise ValueError(
                f"network {network.backbone}: expected one that can be exported to ONNX, got "
                f"{type(error).__name__}: {said:.300}. Use what "
                "torch.onnx knows, and shapes that do not depend on the pixels."
            ) from error
    with torch.inference_mode():
        expected = copied(torch.from_numpy(pixels_NHWC)).numpy()
    apart = max(np.abs(got - expected).max(), np.abs(alone - expected[:1]).max())
    if not apart <= MAX_OUTPUT_DIFFERENCE:  # false for NaN too
        raise ValueError(
            f"network {network.backbone}: expected its graph to give torch's outputs, got others, "
            f"{apart:.4f} apart. Its forward may depend on the pixels or on the size of the batch: "
            "use tensors where it takes Python numbers from them."
        )


def check_taps(
    graph: Path, precision: str, backbone: str, pictures: list[Path], card: Card
) -> None:
    """
    Prove that the heads' output leaves the score as it is.

    Args:
        graph: The file that is packed.
        precision: Of it.
        backbone: Whose features the heads take.
        pictures: Files that `iqa` can score.
        card: Of the network.

    Raises:
        ValueError: A score moves by more than `MAX_SCORE_DIFFERENCE`.
    """
    task, policy = task_of(card), policy_of(card)
    read = task.reader(card)
    plain = OpenVINORuntime(graph, 1, precision)
    tapped = OpenVINORuntime(graph, 1, precision, backbone)
    for path in pictures:
        pixels_NHWC = decode(path.read_bytes(), policy=policy).pixels()[None]
        expected = read(plain.outputs(pixels_NHWC)[0])
        got = read(tapped.outputs_and_features(pixels_NHWC)[0][0])
        if not task.difference(expected, got) <= MAX_SCORE_DIFFERENCE:
            raise ValueError(
                f"heads: expected {in_words(expected)} within {MAX_SCORE_DIFFERENCE:g} for "
                f"{path.name}, got {in_words(got)}. The archive is not built."
            )


def check_graph(
    runtime: Runtime,
    network: Network,
    pictures: list[Path],
    max_points: float,
    card: Card,
) -> list[dict[str, Any]]:
    """
    Compare the graph with the network on real pictures, one at a time and in a batch.

    Args:
        runtime: With the graph.
        network: In evaluation mode, on the CPU.
        pictures: Files that `iqa` can score.
        max_points: How far an answer may lie from torch's, in hundredths of the scale.
        card: The network's card: its task, how an image becomes its input.

    Returns:
        For each image its `file` name, the task's reply as the graph gives it, and as torch gives
        it under `f32`.

    Raises:
        ValueError: An answer lies further from torch's.
    """
    task, policy = task_of(card), policy_of(card)
    read = task.reader(card)
    answers: list[dict[str, Any]] = []
    largest = 0.0
    for path in pictures:
        pixels = torch.from_numpy(decode(path.read_bytes(), policy=policy).pixels().copy())
        with torch.inference_mode():
            expected = read(network(pixels[None])[0].numpy())
        alone = read(runtime.outputs(pixels[None].numpy())[0])
        twice = runtime.outputs(pixels[None].expand(2, -1, -1, -1).numpy())
        for got in (alone, *(read(outputs) for outputs in twice)):
            apart = task.difference(expected, got)
            largest = max(largest, apart)
            if not apart <= max_points:
                raise ValueError(
                    f"graph: expected {in_words(expected)} within {max_points:g} for {path.name}, "
                    f"got {in_words(got)}. The archive is not built. If the graph is of lower "
                    "precision, use --precision f32."
                )
        answers.append({"file": path.name, **alone, "f32": expected})
    logger.info(
        "graph: at most %.4f %s from torch on %d golden images (allowed: %g)",
        largest, "points" if "score" in answers[0] else "percent of a probability", len(pictures),
        max_points,
    )  # fmt: skip
    return answers
