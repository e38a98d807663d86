"""A user's own network on TorchServe: the server answers without its code."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import torch
from iqa.imaging.decoding import decode
from iqa.network import checkpoint

from scripts import build_mar
from tests.deploying import wait_for
from tests.images import encode, photograph
from tests.labelled import CLASSES, config_for, write
from tests.server import TIMEOUT_S, RunningServer
from training.loop.training_run import train
from training.networks import by_name
from training.registry import address, tracking

NAME = "own"


def test_a_users_network_is_served_like_ours(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probabilities as torch gives them; its module is on no path of the server's."""
    images = write(tmp_path / "images")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    address.connect()
    tracking.select_experiment(NAME)
    config = config_for(
        images, tmp_path / "run", backbone="tests.own_network:shapes", model_name=NAME, epochs=2,
        lr=0.02,
    )  # fmt: skip
    assert train(config) is not None
    options = ["--model-name", NAME, "--precision", "f32", "--out", str(server.model_store)]
    assert build_mar.main(options) == 0
    client = server.torchserve(NAME)
    client.load(f"{NAME}-1.mar", workers=1)
    try:
        wait_for(lambda: (found := client.find("1")) and found.is_ready, "a worker of the network")
        network, card = by_name.load(tmp_path / "run" / "best")
        read = checkpoint.task_of(card).reader(card)
        for label in CLASSES:
            body = (images / "test" / label / "1.png").read_bytes()
            code, reply = client.score(body)
            assert code == 200, reply
            pixels = decode(body, policy=checkpoint.policy_of(card)).pixels().copy()
            with torch.inference_mode():
                expected = read(network(torch.from_numpy(pixels)[None])[0].numpy())
            assert reply["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
            assert reply["model"] == {"name": NAME, "version": "1"}
        explained = requests.post(
            f"{client.addresses.inference}/explanations/{NAME}",
            data=encode(photograph(64, 48), "PNG"), timeout=TIMEOUT_S,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        assert (explained.status_code, explained.json()["reason"]) == (404, "no_quality_map")
    finally:
        client.unload("1")
        (server.model_store / f"{NAME}-1.mar").unlink()
