"""Explanations by the handler, with TorchServe's own worker classes, beside predictions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from iqa.network import checkpoint
from iqa.network.logit_map import not_linear
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT
from iqa_handler import IQAHandler
from tests.conftest import make_checkpoint
from tests.images import encode, photograph

PICTURE = encode(photograph(160, 120), "JPEG")
EXPLAIN = {"explain": "True"}
CARD = {
    "calibration": {"kind": "affine_logit", "scale": 1.5, "offset": 0.5},
    "interval": {"coverage": 0.9, "bands": [{"low": 0.0, "high": 100.0, "half_width": 12.0}]},
}

Loaded = tuple[IQAHandler, Context]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """A handler on the torch runtime, whose card has a calibration and an interval."""
    folder = make_checkpoint(tmp_path_factory.mktemp("unpacked"))
    checkpoint.change_card(folder, CARD)
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "7"}}))
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    config = {"handler": {"runtime": "torch"}}
    context = Context("iqa", str(folder), {}, 4, None, "", True, metrics, config)
    handler = IQAHandler()
    handler.initialize(context)
    yield handler, context


def answer(loaded: Loaded, asked: list[tuple[dict[str, Any], dict[str, str]]]) -> list[Any]:
    """Send a batch of (row, headers) as TorchServe does; return the raw replies."""
    handler, context = loaded
    context.request_processor = [RequestProcessor(headers) for _, headers in asked]
    context.request_ids = {index: str(index) for index in range(len(asked))}
    return handler.handle([row for row, _ in asked], context)


def row(**fields: Any) -> dict[str, Any]:
    """Return a request with the picture."""
    return {"body": bytearray(PICTURE), **fields}


def test_an_explanation_is_the_score_reply_and_the_map(loaded: Loaded) -> None:
    """The mean of the map is the logit before calibration: calibrated, it is the score."""
    predicted, explained = map(json.loads, answer(loaded, [(row(), {}), (row(), EXPLAIN)]))
    assert set(explained) == {*predicted, "map"}
    assert explained["score"] == pytest.approx(predicted["score"], abs=0.01)
    assert {k: explained[k] for k in ("label", "model", "image", "warnings", "coverage")} == {
        k: predicted[k] for k in ("label", "model", "image", "warnings", "coverage")
    }
    found = explained["map"]
    logits = np.array(found["logits"])
    assert logits.shape == (found["rows"], found["columns"]) == (12, 16)
    calibrated = 1.5 * logits.mean() + 0.5
    assert 100 / (1 + np.exp(-calibrated)) == pytest.approx(explained["score"], abs=0.01)


def form_body(wanted: str) -> bytearray:
    """Return the picture in a form as the front hands it over, with the format in a field."""
    sent = requests.Request(
        "POST", "http://x", files={"image": ("a.jpg", PICTURE)}, data={"format": wanted}
    )
    body = sent.prepare().body
    assert isinstance(body, bytes)
    return bytearray(body)


def test_a_prediction_has_interval_and_coverage_and_no_map(loaded: Loaded) -> None:
    """What the card promises is told; a map is only for those who ask."""
    (reply,) = map(json.loads, answer(loaded, [(row(), {})]))
    assert "map" not in reply
    low, high = reply["interval"]
    assert high - low == pytest.approx(24.0, abs=0.11)
    assert low < reply["score"] < high
    assert reply["coverage"] == 0.9


@pytest.mark.parametrize(
    "request_",
    [
        (row(format=b"png"), EXPLAIN),
        ({"body": form_body("png")}, EXPLAIN),
        (row(), {**EXPLAIN, "Accept": "image/png"}),
    ],
    ids=["field", "field of a form as it was sent", "header"],
)
def test_an_overlay_is_a_png_of_the_networks_input(loaded: Loaded, request_: Any) -> None:
    """Declared as such; a neighbour's reply stays JSON."""
    file, neighbour = answer(loaded, [request_, (row(), EXPLAIN)])
    with Image.open(io.BytesIO(file)) as image:
        assert (image.format, image.size) == ("PNG", (512, 384))
    assert "map" in json.loads(neighbour)
    _, context = loaded
    types = [context.get_response_content_type(index) for index in (0, 1)]
    assert types == ["image/png", "application/json"]


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ((row(format=b"gif"), EXPLAIN), 400, "unknown_format"),
        (({"body": form_body("gif")}, EXPLAIN), 400, "unknown_format"),
        (({"body": bytearray(b"no picture"), "format": b"png"}, EXPLAIN), 400, "undecodable"),
        (({"body": bytearray(b"")}, EXPLAIN), 400, "empty"),
    ],
)
def test_what_cannot_be_explained_is_refused_as_a_prediction_is(
    loaded: Loaded, request_: Any, status: int, reason: str
) -> None:
    """The same statuses and bodies, also where a picture was asked for; neighbours go on."""
    refused, scored = answer(loaded, [request_, (row(), {})])
    document = json.loads(refused)
    assert (document["code"], document["reason"]) == (status, reason)
    assert "score" in json.loads(scored)
    _, context = loaded
    assert context.get_response_status(0)[0] == status
    assert context.get_response_content_type(0) == "application/json"


@pytest.mark.parametrize("field", ["format", "class", "top_k"])
def test_a_picture_in_a_field_of_any_name_is_explained(loaded: Loaded, field: str) -> None:
    """A file is the picture, and no wish; in a form as it was sent, and in one taken apart."""
    sent = requests.Request("POST", "http://x", files={field: ("a.jpg", PICTURE)}).prepare().body
    assert isinstance(sent, bytes)
    headers: dict[str, Any] = {**EXPLAIN, field: {"content-type": "image/jpeg"}}
    asked = [({"body": bytearray(sent)}, EXPLAIN), ({field: bytearray(PICTURE)}, headers)]
    assert all("map" in json.loads(reply) for reply in answer(loaded, asked))


def test_a_format_means_nothing_to_a_prediction(loaded: Loaded) -> None:
    """The field is read for explanations only: predictions keep their one form."""
    (reply,) = answer(loaded, [(row(format=b"gif"), {"Accept": "image/png"})])
    assert "score" in json.loads(reply)


def test_a_model_without_a_map_says_so_and_still_scores(loaded: Loaded) -> None:
    """404 with a reason, for the explanation alone."""

    class Unmapped:
        stacks_up_to_px = 0

        def outputs(self, pixels: Any) -> Any:
            return np.full(len(pixels), 0.5, np.float32)

        def logit_map(self, pixels: Any, output: Any) -> Any:
            raise not_linear("a maximum")

    handler, context = loaded
    scorer = handler._scorer
    whole, scorer.runtime = scorer.runtime, Unmapped()  # type: ignore[assignment]  # a fake
    try:
        refused, scored = map(json.loads, answer(loaded, [(row(), EXPLAIN), (row(), {})]))
    finally:
        scorer.runtime = whole
    assert (refused["code"], refused["reason"]) == (404, "no_quality_map")
    assert "score" in scored
    assert context.get_response_status(0)[0] == 404
