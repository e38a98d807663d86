"""The handler with TorchServe's own worker classes: any mix of requests, one reply each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from iqa_handler import IQAHandler
from tests.images import encode, photograph
from training.tracking_uri import ROOT

GOOD = encode(photograph(160, 120), "JPEG")
PORTRAIT = encode(photograph(120, 160, seed=1), "PNG")
BAD = {"empty": b"", "text": b"no picture", "small": encode(photograph(16, 16), "PNG")}
STATUS = {"empty": 400, "text": 400, "small": 422}


def make_context(directory: Path, handler: dict[str, Any] | None = None) -> Context:
    """Return what a worker hands to a handler."""
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    config = {"handler": {"runtime": "torch", **(handler or {})}}
    return Context("iqa", str(directory), {}, 4, None, "", True, metrics, config)


@pytest.fixture(scope="module")
def directory(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive's model files."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.copytree(untrained, folder, dirs_exist_ok=True)
    (folder / "provenance.json").write_text(json.dumps({"model": {"version": "7"}}))
    return folder


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Iterator[tuple[IQAHandler, Context]]:
    """A handler with an untrained network, on the torch runtime."""
    handler, context = IQAHandler(), make_context(directory)
    handler.initialize(context)
    yield handler, context


def answer(
    loaded: tuple[IQAHandler, Context],
    bodies: list[bytes],
    headers: dict[str, str] | None = None,
) -> tuple[list[Any], list[int]]:
    """Send a batch as TorchServe does; return replies and statuses."""
    handler, context = loaded
    context.request_processor = [RequestProcessor(dict(headers or {})) for _ in bodies]
    replies = handler.handle([{"body": bytearray(body)} for body in bodies], context)
    documents = [json.loads(reply) for reply in replies]
    return documents, [context.get_response_status(index)[0] for index in range(len(bodies))]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kinds=st.lists(st.sampled_from(["good", "portrait", *BAD]), min_size=1, max_size=4))
def test_any_mix_of_good_and_bad_items_gets_a_reply_each(
    loaded: tuple[IQAHandler, Context], kinds: list[str]
) -> None:
    """As many replies as requests, bad ones refused, good ones scored as they are alone."""
    files = {"good": GOOD, "portrait": PORTRAIT, **BAD}
    replies, statuses = answer(loaded, [files[kind] for kind in kinds])
    assert statuses == [STATUS.get(kind, 200) for kind in kinds]
    for kind, reply in zip(kinds, replies, strict=True):
        if kind in BAD:
            assert reply["code"] == STATUS[kind]
        else:
            alone = answer(loaded, [files[kind]])[0][0]
            assert reply["score"] == pytest.approx(alone["score"], abs=0.01)
            assert reply["image"] == alone["image"]


def test_replies_are_declared_as_json(loaded: tuple[IQAHandler, Context]) -> None:
    """TorchServe does not set the content type of a JSON reply by itself."""
    answer(loaded, [GOOD, b""])
    _, context = loaded
    assert [context.get_response_content_type(index) for index in (0, 1)] == [
        "application/json"
    ] * 2


def test_a_describe_request_without_a_picture_returns_the_provenance(
    loaded: tuple[IQAHandler, Context],
) -> None:
    """The management API's question is a header and no body; with a picture it is a prediction."""
    assert answer(loaded, [b""], {"describe": "True"})[0] == [
        {"model": {"version": "7"}, "runtime": {"name": "torch", "precision": "f32"}}
    ]
    assert "score" in answer(loaded, [GOOD], {"describe": "True"})[0][0]


def test_limits_come_from_the_model_configuration(directory: Path) -> None:
    """max_bytes and max_pixels of model-config.yaml are what is refused."""
    handler, context = IQAHandler(), make_context(directory, {"max_bytes": len(GOOD) - 1})
    handler.initialize(context)
    replies, statuses = answer((handler, context), [GOOD])
    assert statuses == [413]
    assert replies[0]["reason"] == "too_many_bytes"


@pytest.mark.parametrize("setting", [{"runtime": "tensorrt"}, {"max_pixel": 1}, {"threads": 0}])
def test_a_wrong_setting_is_refused_at_load(directory: Path, setting: dict[str, Any]) -> None:
    """A runtime nobody knows, a misspelt key, no thread: said at load, not at a request."""
    with pytest.raises(ValueError, match="expected"):
        IQAHandler().initialize(make_context(directory, setting))


def test_an_unknown_version_of_the_weights_is_refused_at_load(
    directory: Path, tmp_path: Path
) -> None:
    """Weights that are not the card's do not load."""
    shutil.copytree(directory, tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(ValueError, match="weights_sha256"):
        IQAHandler().initialize(make_context(tmp_path / "model"))
