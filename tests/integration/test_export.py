"""Checkpoint -> ONNX for every backbone and precision: the graph gives the network's scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import DEFAULT
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from iqa.network.names import FEATURES_OF_BACKBONE
from iqa.network.runtime import OpenVINORuntime, Runtime

from console.paths import ROOT
from scripts.archive.mar_file import golden_pictures
from training.graph.export import MAX_SCORE_DIFFERENCE, check_graph, export_bf16, export_onnx
from training.graph.rounding import RoundedNetwork, centre, rounded


def _network(backbone: str, seed: int = 0) -> ImageNetwork:
    torch.manual_seed(seed)
    network = ImageNetwork(backbone).eval()
    torch.nn.init.normal_(network.head.weight, std=0.5)  # so that scores differ
    return network


def _opened(graph: Path, precision: str = "f32") -> Runtime:
    return OpenVINORuntime(graph, threads=1, precision=precision)


CARD = {"preprocessing": DEFAULT.parameters()}
"""What is asked of a card here: the default preprocessing, the task quality."""


def _golden_pixels() -> list[torch.Tensor]:
    return [
        torch.from_numpy(decode(path.read_bytes()).pixels().copy()) for path in golden_pictures()
    ]


@pytest.mark.parametrize("backbone", FEATURES_OF_BACKBONE)
def test_the_graph_of_every_backbone_agrees_with_torch(backbone: str, tmp_path: Path) -> None:
    """Landscape and portrait, alone and in a batch, within 0.01 of a point."""
    network = _network(backbone)
    export_onnx(network, tmp_path / "model.onnx")
    scores = check_graph(
        _opened(tmp_path / "model.onnx"), network, golden_pictures(), MAX_SCORE_DIFFERENCE, CARD
    )
    assert len(scores) == 3
    assert all(0 <= float(item["score"]) <= 100 for item in scores)


def test_a_graph_that_differs_is_refused(tmp_path: Path) -> None:
    """A graph of other weights is not packed."""
    export_onnx(_network("mobilenet_v2", seed=1), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"expected the score .* within 0\.01 for .*not built"):
        check_graph(
            _opened(tmp_path / "model.onnx"),
            _network("mobilenet_v2"),
            golden_pictures(),
            0.01,
            CARD,
        )


def test_the_float32_graph_points_into_the_checkpoint(tmp_path: Path) -> None:
    """No weight is stored twice; a checkpoint of other weights is refused."""
    network = _network("mobilenet_v2")
    checkpoint.save(tmp_path, network, {})
    weights = tmp_path / "model.safetensors"
    export_onnx(network, tmp_path / "model.onnx", weights)
    assert (tmp_path / "model.onnx").stat().st_size < 200_000
    check_graph(_opened(tmp_path / "model.onnx"), network, golden_pictures(), 0.01, CARD)
    with pytest.raises(ValueError, match="got other values"):
        export_onnx(_network("mobilenet_v2", seed=1), tmp_path / "other.onnx", weights)


@pytest.mark.parametrize("backbone", FEATURES_OF_BACKBONE)
def test_folding_and_centring_change_nothing(backbone: str) -> None:
    """Both are exact: the score stays within a hundredth of a point."""
    network, pictures = _network(backbone), _golden_pixels()
    batches = [picture[None] for picture in pictures]
    same = RoundedNetwork(network).eval()
    with torch.no_grad():
        centre(same, batches)
        for batch in batches:
            assert abs(100 * float(same(batch) - network(batch))) < 0.01


def test_rounding_with_care_keeps_the_shipped_scores_where_plain_rounding_does_not(
    tmp_path: Path,
) -> None:
    """Weights in 16 bits: within half a point; rounded to the nearest: more than that."""
    network, _ = checkpoint.load(ROOT / "training" / "pretrained")
    pictures = _golden_pixels()
    careful = rounded(network, pictures)
    plain = RoundedNetwork(network).eval()
    with torch.no_grad():
        for module in plain.features.modules():
            for parameter in module.parameters(recurse=False):
                parameter.copy_(parameter.bfloat16().float())
        for picture in pictures:
            expected = 100 * float(network(picture[None]))
            assert abs(100 * float(careful(picture[None])) - expected) < 0.5
        worst = max(
            abs(100 * float(plain(picture[None]) - network(picture[None]))) for picture in pictures
        )
    assert worst > 0.5
    export_bf16(careful, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size < 5_000_000
    # In float32 arithmetic the graph is the careful network itself.
    runtime = _opened(tmp_path / "model.onnx")
    for picture in pictures:
        got = 100 * float(runtime.outputs(picture[None].numpy())[0])
        with torch.no_grad():
            assert abs(got - 100 * float(careful(picture[None]))) < 0.01


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    """An export holds no time and no path of the machine."""
    for name in ("a.onnx", "b.onnx"):
        export_onnx(_network("mobilenet_v2"), tmp_path / name)
    first = (tmp_path / "a.onnx").read_bytes()
    assert first == (tmp_path / "b.onnx").read_bytes()
    assert str(tmp_path).encode() not in first
