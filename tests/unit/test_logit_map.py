"""The map is exact: its mean is the logit, in torch and in every graph; else it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from iqa.errors import ImageRejected
from iqa.network import checkpoint
from iqa.network.logit_map import LogitMap
from iqa.network.model import ImageNetwork
from iqa.network.names import FEATURES_OF_BACKBONE
from iqa.network.runtime import OpenVINORuntime, Runtime, TorchRuntime
from iqa.tasks.task import ONE_OUTPUT, Head
from numpy.typing import NDArray
from openvino import opset13 as ops

from tests.images import photograph
from training.graph.export import export_bf16, export_onnx
from training.graph.quantisation import quantise
from training.graph.rounding import RoundedNetwork, rounded

PICTURES = [photograph(128, 96), photograph(96, 160, seed=1), photograph(112, 80, seed=2)]


CLASSES = Head(n_outputs=5, activation="softmax")


def network_of(backbone: str, head: Head = ONE_OUTPUT) -> ImageNetwork:
    """Return a network whose answers and places differ."""
    torch.manual_seed(0)
    network = ImageNetwork(backbone, head=head)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the pictures' own statistics: else the features fade to zero
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack([photograph(128, 96, seed=s) for s in (0, 1)])))
    torch.nn.init.normal_(network.head.weight, std=0.05)
    torch.nn.init.constant_(network.head.bias, 0.3)
    return network.eval()


def logit(quality: float) -> float:
    """Return what the sigmoid was taken of."""
    return float(np.log(quality / (1 - quality)))


def check(runtime: Runtime, pixels: NDArray[np.uint8], tolerance: float) -> LogitMap:
    """Assert that the mean of the map is the logit of the score that is served; return the map."""
    found = runtime.logit_map(pixels)
    served = float(runtime.outputs(pixels[None])[0])
    assert found.logits.mean() == pytest.approx(logit(served), abs=tolerance)
    assert float(found.outputs) == pytest.approx(served, abs=tolerance / 4)
    assert found.logits.shape == (-(-pixels.shape[0] // 32), -(-pixels.shape[1] // 32))
    return found


@pytest.mark.parametrize("backbone", FEATURES_OF_BACKBONE)
def test_the_mean_of_the_map_is_the_logit_on_both_runtimes(backbone: str, tmp_path: Path) -> None:
    """To 1e-4 in float32, for every backbone, and place by place the same in both."""
    network = network_of(backbone)
    checkpoint.save(tmp_path, network, {})
    export_onnx(network, tmp_path / "model.onnx", tmp_path / "model.safetensors")
    for pixels in PICTURES:
        in_torch = check(TorchRuntime(tmp_path, threads=1), pixels, 1e-4)
        served = check(OpenVINORuntime(tmp_path / "model.onnx", threads=1), pixels, 1e-4)
        np.testing.assert_allclose(served.logits, in_torch.logits, atol=1e-3)
        assert in_torch.logits.std() > 0.01


def test_the_mean_of_the_map_is_the_logit_in_bf16(tmp_path: Path) -> None:
    """To 1e-2; the map is of the rounded network that is served, its moved head included."""
    network = network_of("mobilenet_v2")
    pictures = [torch.from_numpy(pixels.copy()) for pixels in PICTURES]
    export_bf16(rounded(network, pictures), tmp_path / "model.onnx")
    for pixels in PICTURES:
        check(OpenVINORuntime(tmp_path / "model.onnx", threads=1, precision="bf16"), pixels, 1e-2)


def test_a_rounded_network_is_mapped_and_not_the_one_before_rounding(tmp_path: Path) -> None:
    """A head that was moved after the fact is the one that the map shows."""
    moved = RoundedNetwork(network_of("mobilenet_v2")).eval()
    moved.head.bias.data += 2.0
    export_bf16(moved, tmp_path / "model.onnx")
    runtime = OpenVINORuntime(tmp_path / "model.onnx", threads=1)
    found = check(runtime, PICTURES[0], 1e-2)
    with torch.inference_mode():
        expected = float(moved.logits(torch.from_numpy(PICTURES[0].copy())[None]))
    assert found.logits.mean() == pytest.approx(expected, abs=1e-2)


def test_the_mean_of_the_map_is_the_logit_in_int8(tmp_path: Path) -> None:
    """To 1e-2; weights in 8 bits and rounding steps between the layers are no obstacle."""
    pictures = [torch.from_numpy(pixels.copy()) for pixels in PICTURES]
    quantise(network_of("mobilenet_v2"), pictures, tmp_path / "model.xml")
    for pixels in PICTURES:
        check(OpenVINORuntime(tmp_path / "model.xml", threads=1, precision="int8"), pixels, 1e-2)


def check_classes(runtime: Runtime, tolerance: float) -> list[LogitMap]:
    """Assert that each class's map says what is served of it; return the last image's maps."""
    for pixels in PICTURES:
        served = runtime.outputs(pixels[None])[0].astype(np.float64)
        maps = [runtime.logit_map(pixels, output) for output in range(len(served))]
        among = np.log(served) - np.log(served).mean()
        np.testing.assert_allclose([m.logits.mean() for m in maps], among, atol=tolerance)
        np.testing.assert_allclose(maps[0].outputs, served, atol=tolerance)
        np.testing.assert_allclose(sum(m.logits for m in maps), 0, atol=1e-3)
        chosen = runtime.logit_map(pixels)
        assert chosen.output == served.argmax()
        np.testing.assert_array_equal(chosen.logits, maps[chosen.output].logits)
    return maps


@pytest.mark.parametrize("backbone", ["residual_small", "cnn4", "resnet18"])
def test_the_map_of_each_class_is_exact_on_both_runtimes(backbone: str, tmp_path: Path) -> None:
    """Its mean is the class's logit against all classes', and the maps of all cancel out."""
    network = network_of(backbone, CLASSES)
    names = {"task": "classes", "class_names": list("abcde")}
    checkpoint.save(tmp_path, network, names)
    export_onnx(network, tmp_path / "model.onnx", tmp_path / "model.safetensors")
    in_torch = check_classes(TorchRuntime(tmp_path, threads=1), 1e-4)
    served = check_classes(OpenVINORuntime(tmp_path / "model.onnx", threads=1), 1e-4)
    for ours, theirs in zip(in_torch, served, strict=True):
        np.testing.assert_allclose(theirs.logits, ours.logits, atol=1e-3)
        assert ours.logits.std() > 0.01


def test_the_map_of_each_class_is_exact_in_lower_precision(tmp_path: Path) -> None:
    """To 2e-2 of a logit, for the rounded graph and for the quantised one."""
    network = network_of("residual_small", CLASSES)
    pictures = [torch.from_numpy(pixels.copy()) for pixels in PICTURES]
    export_bf16(rounded(network, pictures), tmp_path / "model.onnx")
    check_classes(OpenVINORuntime(tmp_path / "model.onnx", threads=1, precision="bf16"), 2e-2)
    quantise(network, pictures, tmp_path / "model.xml")
    check_classes(OpenVINORuntime(tmp_path / "model.xml", threads=1, precision="int8"), 2e-2)


def test_predictions_know_nothing_of_the_map(tmp_path: Path) -> None:
    """The second graph is made when it is first asked for, and the first one has no new output."""
    network = network_of("mobilenet_v2")
    export_onnx(network, tmp_path / "model.onnx")
    runtime = OpenVINORuntime(tmp_path / "model.onnx", threads=1)
    before = runtime.outputs(PICTURES[0][None])
    assert runtime._mapped is None
    runtime.logit_map(PICTURES[0])
    mapped = runtime._mapped
    assert mapped is not None
    runtime.logit_map(PICTURES[1])
    assert runtime._mapped is mapped
    assert len(runtime._request.model_outputs) == 1
    np.testing.assert_array_equal(runtime.outputs(PICTURES[0][None]), before)


def _graph(tmp_path: Path, kind: str) -> Path:
    """Write a graph with a head that has no exact map."""
    pixels = ops.parameter([-1, -1, -1, 3], np.uint8, name="pixels_NHWC")
    order = ops.constant([0, 3, 1, 2])
    features = ops.transpose(ops.convert(pixels, "f32"), order)
    weight = ops.constant(np.ones((3, 1), np.float32))
    average = ops.reduce_mean(features, ops.constant([2, 3]), keep_dims=False)
    ends = {
        "maximum": lambda: ops.sigmoid(
            ops.matmul(ops.reduce_max(features, ops.constant([2, 3]), False), weight, False, False)
        ),
        "bent": lambda: ops.sigmoid(ops.relu(ops.matmul(average, weight, False, False))),
        "two layers": lambda: ops.sigmoid(
            ops.matmul(
                ops.relu(ops.matmul(average, ops.constant(np.ones((3, 3), np.float32)), 0, 0)),
                weight, False, False,
            )
        ),
        "two layers of classes": lambda: ops.softmax(
            ops.matmul(
                ops.relu(ops.matmul(average, ops.constant(np.ones((3, 4), np.float32)), 0, 0)),
                ops.constant(np.ones((4, 5), np.float32)), False, False,
            ), 1,
        ),
        "no sigmoid": lambda: ops.matmul(average, weight, False, False),
        "sum of two": lambda: ops.sigmoid(
            ops.add(ops.matmul(average, weight, False, False),
                    ops.reduce_max(features, ops.constant([1, 2, 3]), False))
        ),
        "gate": lambda: ops.sigmoid(
            ops.matmul(ops.multiply(average, ops.sigmoid(average)), weight, False, False)
        ),
        "gate after the head": lambda: ops.sigmoid(
            ops.multiply(ops.matmul(average, weight, False, False),
                         ops.matmul(average, weight, False, False))
        ),
        "product of two": lambda: ops.sigmoid(ops.matmul(average, average, False, True)),
        "rows only": lambda: ops.sigmoid(
            ops.matmul(
                ops.reduce_mean(features, ops.constant([2]), keep_dims=False), weight, True, False
            )
        ),
    }  # fmt: skip
    openvino.save_model(openvino.Model([ends[kind]()], [pixels]), tmp_path / "model.xml")
    return tmp_path / "model.xml"


@pytest.mark.parametrize(
    "kind",
    [
        "maximum", "bent", "two layers", "two layers of classes", "no sigmoid", "sum of two",
        "gate", "gate after the head", "product of two", "rows only",
    ],
)  # fmt: skip
def test_a_head_that_is_not_linear_on_the_average_is_refused(tmp_path: Path, kind: str) -> None:
    """No map that only looks like one: 404, with what to do instead."""
    runtime = OpenVINORuntime(_graph(tmp_path, kind), threads=1)
    with pytest.raises(ImageRejected, match=r"linear on the average.*use /predictions") as refused:
        runtime.logit_map(PICTURES[0])
    assert (refused.value.status, refused.value.reason) == (404, "no_quality_map")
    (tmp_path / "model.xml").unlink()  # the graph is looked at once
    with pytest.raises(ImageRejected, match="linear on the average") as again:
        runtime.logit_map(PICTURES[1])
    assert (again.value.status, str(again.value)) == (404, str(refused.value))


@pytest.mark.parametrize("pooling", ["average+std", "average+max"])
def test_another_pooling_has_scores_and_no_map(tmp_path: Path, pooling: str) -> None:
    """Both runtimes score with it alike, and refuse to explain."""
    torch.manual_seed(0)
    network = ImageNetwork("mobilenet_v2", pooling=pooling).eval()
    checkpoint.save(tmp_path, network, {})
    export_onnx(network, tmp_path / "model.onnx")
    pixels = np.stack([photograph(128, 96, seed) for seed in (0, 1)])
    expected = network(torch.from_numpy(pixels)).detach().numpy()
    for runtime in (OpenVINORuntime(tmp_path / "model.onnx", threads=1), TorchRuntime(tmp_path, 1)):
        np.testing.assert_allclose(runtime.outputs(pixels), expected, atol=1e-4)
        with pytest.raises(ImageRejected, match="linear on the average") as refused:
            runtime.logit_map(PICTURES[0])
        assert refused.value.status == 404
