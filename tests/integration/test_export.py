"""Checkpoint -> ONNX for every backbone: the graph gives the network's scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from iqa.model import FEATURES_OF_BACKBONE, QualityNetwork

from scripts.archive import golden_pictures
from training.export import check_graph, export_onnx


def _network(backbone: str, seed: int = 0) -> QualityNetwork:
    torch.manual_seed(seed)
    network = QualityNetwork(backbone).eval()
    torch.nn.init.normal_(network.head.weight, std=0.5)  # so that scores differ
    return network


@pytest.mark.parametrize("backbone", FEATURES_OF_BACKBONE)
def test_the_graph_of_every_backbone_agrees_with_torch(backbone: str, tmp_path: Path) -> None:
    """Landscape and portrait, alone and in a batch, within 0.01 of a point."""
    network = _network(backbone)
    export_onnx(network, tmp_path / "model.onnx")
    scores = check_graph(tmp_path / "model.onnx", network, golden_pictures())
    assert len(scores) == 3
    assert all(0 <= score <= 100 for score in scores.values())


def test_a_graph_that_differs_is_refused(tmp_path: Path) -> None:
    """A graph of other weights is not packed."""
    export_onnx(_network("mobilenet_v2", seed=1), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="The export changed the network"):
        check_graph(tmp_path / "model.onnx", _network("mobilenet_v2"), golden_pictures())


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    """An export holds no time and no path of the machine."""
    for name in ("a.onnx", "b.onnx"):
        export_onnx(_network("mobilenet_v2"), tmp_path / name)
    first = (tmp_path / "a.onnx").read_bytes()
    assert first == (tmp_path / "b.onnx").read_bytes()
    assert str(tmp_path).encode() not in first
