"""Explanations over HTTP from a real TorchServe that serves the shipped model."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from iqa.tasks.score_scales import calibrate
from PIL import Image

from console.paths import ROOT
from tests.server import TIMEOUT_S, RunningServer

GOLDEN = ROOT / "handler" / "golden"
PARROTS = GOLDEN / "parrots.jpg"
AS_FILE = {"Content-Type": "application/octet-stream"}
# The map is of another compiled graph, in bf16: its features may be rounded otherwise.
TOLERANCE_LOGIT = 1e-2
TOLERANCE_POINTS = 0.2


def explain(server: RunningServer, body: bytes, **headers: str) -> requests.Response:
    """Ask for an explanation of a picture."""
    return requests.post(
        server.url("INFERENCE_PORT", "/explanations/iqa"),
        data=body,
        headers={**AS_FILE, **headers},
        timeout=TIMEOUT_S,
    )


def explain_form(server: RunningServer, body: bytes, wanted: str) -> requests.Response:
    """Ask for one by a form."""
    return requests.post(
        server.url("INFERENCE_PORT", "/explanations/iqa"),
        files={"data": ("a.jpg", body)},
        data={"format": wanted},
        timeout=TIMEOUT_S,
    )


@pytest.fixture(scope="module")
def calibration(server: RunningServer) -> dict[str, Any]:
    """How the served model's quality is calibrated, out of its archive."""
    with zipfile.ZipFile(server.model_store / "iqa-1.mar") as archive:
        card: dict[str, Any] = json.loads(archive.read("model.json"))
    found: dict[str, Any] = card["calibration"]
    return found


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jpg")), ids=lambda path: path.name)
def test_the_mean_of_the_served_map_is_the_served_logit(
    server: RunningServer, calibration: dict[str, Any], path: Path
) -> None:
    """Score reply and map, and the map's mean, calibrated, is the score of a prediction."""
    predicted = server.score(path.read_bytes())
    reply = explain(server, path.read_bytes())
    assert reply.status_code == 200, reply.text
    explained = reply.json()
    assert set(explained) == {*predicted, "map"}
    assert explained["score"] == pytest.approx(predicted["score"], abs=TOLERANCE_POINTS)
    logits = np.array(explained["map"]["logits"])
    assert logits.shape == (explained["map"]["rows"], explained["map"]["columns"])
    quality = np.float64(1 / (1 + np.exp(-logits.mean())))
    # 25 points a unit of the logit at the most.
    within = 25 * calibration["scale"] * TOLERANCE_LOGIT + TOLERANCE_POINTS
    assert 100 * calibrate(quality, calibration) == pytest.approx(predicted["score"], abs=within)


@pytest.mark.parametrize("way", ["header", "form"])
def test_an_overlay_comes_by_header_or_by_form(door: RunningServer, way: str) -> None:
    """Both pass through TorchServe; what comes is a PNG and says so."""
    picture = PARROTS.read_bytes()
    if way == "header":
        reply = explain(door, picture, Accept="image/png")
    else:
        reply = explain_form(door, picture, "png")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/png"
    assert len(reply.content) < 1_000_000
    with Image.open(io.BytesIO(reply.content)) as image:
        assert image.size == (544, 368)


def test_an_explanation_that_cannot_be_given_is_refused_as_a_prediction_is(
    door: RunningServer,
) -> None:
    """Status and JSON body with the reason, also where a PNG was asked for."""
    for reply, reason in (
        (explain(door, b"no picture", Accept="image/png"), "undecodable"),
        (explain(door, b""), "empty"),
        (explain_form(door, PARROTS.read_bytes(), "gif"), "unknown_format"),
    ):
        assert (reply.status_code, reply.json()["reason"]) == (400, reason)
        assert reply.headers["content-type"] == "application/json"


def test_a_client_cannot_ask_for_an_explanation_where_predictions_are_made(
    server: RunningServer,
) -> None:
    """TorchServe sets the header by the address, and overwrites a client's."""
    for name in ("explain", "Explain", "EXPLAIN"):
        reply = server.post(PARROTS.read_bytes(), headers={**AS_FILE, name: "True"})
        assert reply.status_code == 200
        assert "map" not in reply.json()
    reply = explain(server, PARROTS.read_bytes(), explain="False")
    assert "map" in reply.json()


def test_explanations_and_predictions_share_batches_without_harm(server: RunningServer) -> None:
    """Sent together, in pairs to a worker, each gets its own kind of answer."""
    picture = PARROTS.read_bytes()
    alone = server.score(picture)["score"]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(explain, server, picture) for _ in range(8)]
        scored = [pool.submit(server.score, picture) for _ in range(16)]
        maps = [future.result().json() for future in asked]
        scores = [future.result() for future in scored]
    assert {reply["score"] for reply in scores} == {alone}
    assert not any("map" in reply for reply in scores)
    assert all("map" in reply for reply in maps)
