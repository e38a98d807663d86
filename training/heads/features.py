"""The features that heads learn from: a checkpoint's network, by the graph that is served."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iqa.network import checkpoint
from iqa.network.intermediate_features import TAPS
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime, Runtime

from training.graph import precision
from training.graph.export import export_onnx


def expect_taps(card: checkpoint.Card) -> str:
    """
    Return the backbone of a card whose network has features for heads.

    Raises:
        ValueError: It has none.
    """
    backbone = str(card["architecture"]["backbone"])
    if backbone not in TAPS or checkpoint.policy_of(card).n_channels != 3:
        raise ValueError(
            f"--checkpoint: expected a colour network of {', '.join(TAPS)}, got {backbone}. "
            "Heads are known for no other."
        )
    return backbone


@contextmanager
def features_of(
    weights: Network, card: checkpoint.Card, graph: Path | None, backbone: str
) -> Iterator[Runtime]:
    """
    Open the graph of a folder with its features; without one, the network's in float32.

    Raises:
        ValueError: The graph is another network's.
    """
    with tempfile.TemporaryDirectory() as directory:
        name, path = "f32", Path(directory) / GRAPH_FILE
        if graph is None:
            export_onnx(weights, path)
        else:
            path = graph / GRAPH_FILE
            name = precision.read_gate(graph, card["weights_sha256"]).precision
        yield OpenVINORuntime(path, 1, name, backbone)
