"""A second task is served with no change elsewhere: card, graph, handler, golden answers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from iqa.errors import CheckpointMismatch
from iqa.imaging.decoding import decode
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from iqa.network.runtime import OpenVINORuntime
from PIL import Image

from scripts.archive.golden import Golden, NotGolden
from tests.second_task import POLICY, Brightness, brightness_known, served
from training.graph.export import check_graph, export_onnx


@pytest.fixture(scope="module")
def task() -> Iterator[Brightness]:
    """The task, known."""
    with brightness_known() as known:
        yield known


@pytest.fixture(scope="module")
def directory(task: Brightness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that tells bright from dark, with its graph, as in an unpacked archive."""
    folder = tmp_path_factory.mktemp("brightness")
    torch.manual_seed(0)
    network = ImageNetwork("mobilenet_v2", head=task.head({}), n_channels=1).eval()
    with torch.inference_mode():  # a head by hand: what differs between black and white decides
        black, white = (
            network._maps(torch.full((1, 28, 28, 1), value, dtype=torch.uint8)).mean(dim=(2, 3))[0]
            for value in (0, 255)
        )
        direction = (white - black) / (white - black).square().sum()
        network.head.weight.copy_(torch.stack([-4 * direction, 4 * direction]))
        middle = float(direction @ (white + black) / 2)
        network.head.bias.copy_(torch.tensor([4 * middle, -4 * middle]))
    checkpoint.save(folder, network, {"metrics": {}}, task=task, policy=POLICY)
    export_onnx(network, folder / "model.onnx")
    return folder


def image(path: Path, level: int) -> Path:
    """Write a grey image."""
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (level, level, level)).save(file, "PNG")
    path.write_bytes(file.getvalue())
    return path


def test_the_card_names_task_head_and_preprocessing(task: Brightness, directory: Path) -> None:
    """What a server has to know stands in the card, in a format that older code refuses."""
    network, card = checkpoint.load(directory)
    assert (card["task"], card["format"]) == ("brightness", checkpoint.TASK_FORMAT)
    assert card["architecture"]["head"] == "linear, softmax, 2 outputs"
    assert checkpoint.policy_of(card) == POLICY
    assert network.ends_in == task.head(card)


def test_an_unknown_task_is_refused(directory: Path, tmp_path: Path) -> None:
    """A card of a task that this code lacks is an error at load, with what is known."""
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    card = json.loads((tmp_path / checkpoint.CARD_FILE).read_text())
    (tmp_path / checkpoint.CARD_FILE).write_text(json.dumps({**card, "task": "species"}))
    with pytest.raises(
        CheckpointMismatch, match="task: expected one of brightness, classes, quality, got"
    ):
        checkpoint.load(tmp_path)


def test_the_graph_answers_as_torch_does(directory: Path, tmp_path: Path) -> None:
    """The same two classes, within a hundredth of a percent."""
    network, card = checkpoint.load(directory)
    files = [image(tmp_path / "dark.png", 20), image(tmp_path / "bright.png", 230)]
    runtime = OpenVINORuntime(directory / "model.onnx", threads=1)
    answers = check_graph(runtime, network, files, 0.01, card)
    assert [answer["label"] for answer in answers] == ["dark", "bright"]
    pixels = decode(files[0].read_bytes(), policy=POLICY).pixels()
    assert runtime.outputs(pixels[None]).shape == (1, 2)


def test_the_handler_replies_in_the_task_s_own_words(
    task: Brightness, directory: Path, tmp_path: Path
) -> None:
    """Label and probability, the model's own name; its labels are counted and no score is."""
    bodies = [image(tmp_path / f"{level}.png", level).read_bytes() for level in (20, 230)]
    handler, (dark, bright) = served(directory, bodies)
    assert (dark["label"], bright["label"]) == ("dark", "bright")
    assert bright["model"] == {"name": "brightness", "version": "1"}
    assert "score" not in bright and bright["probability"] > 0.5
    assert handler._telemetry._counts["iqa_scores_total", ("bright",)] == 1
    assert not any("points" in name or "tenths" in name for name, _ in handler._telemetry._counts)


def test_a_second_task_has_maps_of_its_classes(
    task: Brightness, directory: Path, tmp_path: Path
) -> None:
    """Nothing is written for it: the head is linear, and the labels name the outputs."""
    bodies = [image(tmp_path / f"{level}.png", level).read_bytes() for level in (20, 230)]
    _, (dark, bright) = served(directory, bodies, explain="True")
    assert (dark["map"]["class"], bright["map"]["class"]) == ("dark", "bright")
    assert dark["map"]["logits"][0][0] > 0 and bright["map"]["logits"][0][0] > 0
    _, (asked,) = served(directory, bodies[:1], explain="True", **{"X-Class": "bright"})
    assert asked["map"]["class"] == "bright" and asked["map"]["logits"][0][0] < 0


def test_golden_answers_are_compared_by_the_task(task: Brightness) -> None:
    """Equal within the tolerance; another class, or another kind of reply, is not golden."""
    expected = {"label": "bright", "probability": 0.9}
    golden = Golden(version="1", pictures=[("a.png", b"", expected)], tolerance=0.05, task=task)

    def reply(**said: Any) -> dict[str, Any]:
        return {"model": {"version": "1"}, **said}

    close = reply(label="bright", probability=0.9004)
    assert golden.compare(0, 200, close) == pytest.approx(0.04)
    for wrong in (
        reply(label="bright", probability=0.91),
        reply(label="dark", probability=0.9),
        reply(score=90.0),
    ):
        with pytest.raises(NotGolden, match="expected the label 'bright'"):
            golden.compare(0, 200, wrong)
