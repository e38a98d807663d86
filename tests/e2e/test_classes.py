"""A model of classes beside the quality model on one TorchServe: same door, its own reply."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from iqa.imaging.decoding import decode
from iqa.network import checkpoint
from PIL import Image

from scripts import build_mar
from scripts.server.client import TorchServe
from tests.deploying import wait_for
from tests.images import encode, photograph
from tests.labelled import CLASSES, config_for, write
from tests.server import TIMEOUT_S, RunningServer
from training.loop.training_run import train
from training.registry import address, tracking

NAME = "shapes"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders."""
    return write(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def shapes(
    server: RunningServer, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TorchServe, Path]]:
    """The model, trained, built and loaded into the server of all tests; its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        address.connect()
        tracking.select_experiment("shapes")
        assert train(config_for(images, folder / "run", epochs=2)) is not None
        options = ["--model-name", NAME, "--precision", "f32", "--out", str(server.model_store)]
        assert build_mar.main(options) == 0
    client = server.torchserve(NAME)
    client.load(f"{NAME}-1.mar", workers=1)
    wait_for(lambda: (found := client.find("1")) and found.is_ready, "a worker of the classes")
    yield client, folder / "run" / "best"
    client.unload("1")
    (server.model_store / f"{NAME}-1.mar").unlink()


def test_the_reply_is_the_one_in_process(shapes: tuple[TorchServe, Path], images: Path) -> None:
    """Class, label, confidence and all probabilities; torch in this process says the same."""
    client, best = shapes
    network, card = checkpoint.load(best)
    read = checkpoint.task_of(card).reader(card)
    for label in CLASSES:
        body = (images / "test" / label / "1.png").read_bytes()
        code, reply = client.score(body)
        assert code == 200, reply
        assert set(reply) == {
            "predicted_class", "predicted_label", "confidence", "probabilities",
            "model", "image", "warnings",
        }  # fmt: skip
        pixels = decode(body, policy=checkpoint.policy_of(card)).pixels().copy()
        with torch.inference_mode():
            expected = read(network(torch.from_numpy(pixels)[None])[0].numpy())
        assert reply["predicted_label"] == expected["predicted_label"]
        assert reply["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
        assert reply["confidence"] == max(reply["probabilities"].values())
        assert reply["model"] == {"name": NAME, "version": "1"}


def test_a_small_image_is_taken_and_a_tiny_one_refused(shapes: tuple[TorchServe, Path]) -> None:
    """By the model's own policy; the quality model's limit is another."""
    client, _ = shapes
    code, reply = client.score(encode(photograph(12, 9), "PNG"))
    assert code == 200 and "upscaled" in reply["warnings"]
    code, reply = client.score(encode(photograph(12, 6), "PNG"))
    assert (code, reply["reason"]) == (422, "too_small") and "7 x 7" in reply["message"]
    code, reply = client.score(b"no picture")
    assert (code, reply["reason"]) == (415, "unsupported_format") or code == 400


def test_the_quality_model_beside_it_answers_as_before(
    server: RunningServer, shapes: tuple[TorchServe, Path]
) -> None:
    """Its scores, its labels, its limits."""
    reply: dict[str, Any] = server.score(encode(photograph(64, 48), "PNG"))
    assert {"score", "label"} < set(reply) and "probabilities" not in reply


def ask(door: RunningServer, path: str, **options: Any) -> requests.Response:
    """Send an image to the classes, past the front or through it."""
    url = door.url("INFERENCE_PORT", path)
    body = options.pop("data", encode(photograph(64, 48), "PNG"))
    headers = {"Content-Type": "application/octet-stream", **options.pop("headers", {})}
    return requests.post(url, data=body, headers=headers, timeout=TIMEOUT_S, **options)


def test_a_map_shows_where_a_class_comes_from(
    server: RunningServer, shapes: tuple[TorchServe, Path]
) -> None:
    """Of the predicted class, or of the one that is asked for; its mean is what was answered."""
    path = f"/explanations/{NAME}"
    explained = ask(server, path).json()
    assert explained["map"]["class"] == explained["predicted_label"]
    card = checkpoint.load_card(shapes[1])
    temperature = card["calibration"]["temperature"]
    p = np.array([explained["probabilities"][name] for name in sorted(CLASSES)])
    for place, name in enumerate(sorted(CLASSES)):
        found = ask(server, path, headers={"X-Class": name}).json()
        assert found["predicted_label"] == explained["predicted_label"]
        assert found["map"]["class"] == name
        logits = np.array(found["map"]["logits"])
        assert logits.shape == (found["map"]["rows"], found["map"]["columns"]) == (7, 7)
        expected = temperature * (np.log(p) - np.log(p).mean())[place]
        assert logits.mean() == pytest.approx(expected, abs=0.01)
    overlay = ask(server, path, headers={"Accept": "image/png"})
    assert overlay.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(overlay.content)) as image:
        assert (image.mode, image.size) == ("RGB", (224, 224))
    refused = ask(server, path, headers={"X-Class": "hat"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "unknown_class")


def test_top_k_limits_the_probabilities(
    server: RunningServer, shapes: tuple[TorchServe, Path]
) -> None:
    """By header or field; nonsense is refused, from a model of scores as well."""
    path = f"/predictions/{NAME}"
    reply = ask(server, path, headers={"X-Top-K": "2"}).json()
    assert len(reply["probabilities"]) == 2
    assert max(reply["probabilities"], key=reply["probabilities"].get) == reply["predicted_label"]
    url = server.url("INFERENCE_PORT", path)
    body = encode(photograph(64, 48), "PNG")
    by_form = requests.post(
        url, files={"file": ("a.png", body)}, data={"top_k": "1"}, timeout=TIMEOUT_S
    )
    assert len(by_form.json()["probabilities"]) == 1
    for name in (NAME, "iqa"):
        refused = ask(server, f"/predictions/{name}", headers={"X-Top-K": "none"})
        assert (refused.status_code, refused.json()["reason"]) == (400, "bad_top_k")
        assert refused.json()["code"] == 400
