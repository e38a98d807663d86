"""The handler with TorchServe's own worker classes: any mix of requests, one reply each."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

import iqa_handler
from console.paths import ROOT
from iqa_handler import IQAHandler
from tests.images import encode, photograph

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
    (folder / "provenance.json").write_text(json.dumps({"model": {"name": "iqa", "version": "7"}}))
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
        {"model": {"name": "iqa", "version": "7"}, "runtime": {"name": "torch", "precision": "f32"}}
    ]
    assert "score" in answer(loaded, [GOOD], {"describe": "True"})[0][0]
    handler, context = loaded
    (reply,) = handler.handle([{"image": bytearray(GOOD)}], context)
    assert "score" in json.loads(reply)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ([("file", ("C:\\x\\một.png", GOOD))], "một.png"),
        ([("note", (None, "b.png")), ("file", ("", GOOD))], None),
        ([("empty", ("a.png", b"")), ("file", ("b.png", GOOD))], "b.png"),
    ],
)
def test_the_name_of_a_file_is_told_where_the_front_asks(
    loaded: tuple[IQAHandler, Context], files: list[Any], name: str | None
) -> None:
    """Of the file that was scored, without folders; nothing else changes, refusals neither."""
    form = requests.Request("POST", "http://x", files=files).prepare().body
    assert isinstance(form, bytes)
    (plain,), _ = answer(loaded, [form])
    (named, refused), _ = answer(loaded, [form, b"no picture"], {"X-Image-Name": "1"})
    assert named.pop("image_name") == name
    assert named == plain
    assert set(refused) == {"code", "type", "message", "reason"}


def test_the_encoding_of_one_body_is_undone_and_its_neighbours_are_left_alone(
    loaded: tuple[IQAHandler, Context],
) -> None:
    """Each request has its own headers; what is refused for its encoding says what is taken."""
    handler, context = loaded
    encodings: list[dict[str, str]] = [{"content-encoding": "gzip"}, {}, {"Content-Encoding": "br"}]
    context.request_processor = [RequestProcessor(headers) for headers in encodings]
    rows = [{"body": bytearray(body)} for body in (gzip.compress(GOOD), GOOD, GOOD)]
    replies = [json.loads(reply) for reply in handler.handle(rows, context)]
    assert [context.get_response_status(index)[0] for index in range(3)] == [200, 200, 415]
    assert replies[0]["score"] == pytest.approx(replies[1]["score"], abs=0.01)
    assert replies[2]["reason"] == "unsupported_encoding"
    told = [context.get_response_headers(index).get("Accept-Encoding") for index in range(3)]
    assert told == [None, None, "gzip, deflate"]


def test_a_request_that_waited_too_long_is_not_decoded(
    loaded: tuple[IQAHandler, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with a reason and Retry-After, whatever the file is; without the header nothing waits."""
    handler, context = loaded
    now_s = time.time()
    monkeypatch.setattr(handler._clock, "now_s", lambda: now_s)
    late, fresh = f"t={now_s - 10.5:.3f}", f"{now_s - 9.0:.3f}"
    starts: list[dict[str, str]] = [
        {"X-Request-Start": late}, {"X-Request-Start": fresh}, {"x-request-start": late},
        {"X-Request-Start": "long ago"}, {},
    ]  # fmt: skip
    context.request_processor = [RequestProcessor(headers) for headers in starts]
    rows = [{"body": bytearray(body)} for body in (b"no picture", GOOD, GOOD, GOOD, GOOD)]
    replies = [json.loads(reply) for reply in handler.handle(rows, context)]
    statuses = [context.get_response_status(index)[0] for index in range(5)]
    assert statuses == [503, 200, 503, 200, 200]
    assert (replies[0]["reason"], replies[0]["type"]) == ("expired", "NotScored")
    assert "within 10 s of its arrival, got it after 10.5 s" in replies[0]["message"]
    assert context.get_response_headers(0)["Retry-After"] == "1"
    assert "Retry-After" not in context.get_response_headers(1)


def test_form_fields_named_like_headers_hurt_nobody(
    loaded: tuple[IQAHandler, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TorchServe hands a form over that it took apart: scored, and so is the neighbour."""
    handler, context = loaded
    monkeypatch.setenv("IQA_LOG_LEVEL", "INFO")
    monkeypatch.setattr(handler, "_log", iqa_handler.RequestLog("7"))
    names = ["X-Request-Start", "X-Request-ID", "traceparent", "describe", "explain"]
    headers = {name: {"content-type": ""} for name in names}
    headers["data"] = {"content-type": "image/jpeg"}
    row = {**dict.fromkeys(names, b"x"), "data": bytearray(GOOD)}
    context.request_processor = [RequestProcessor({}), RequestProcessor(headers)]
    replies = [json.loads(reply) for reply in handler.handle([{"body": GOOD}, row], context)]
    assert [context.get_response_status(index)[0] for index in (0, 1)] == [200, 200]
    assert replies[0] == replies[1]


class Broken:
    """A network that answers NaN, or not at all, for upright pictures."""

    def __init__(self, runtime: Any, error: Exception | None, stacks_up_to_px: int) -> None:
        self._runtime, self._error = runtime, error
        self.stacks_up_to_px = stacks_up_to_px

    def outputs(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime`."""
        if pixels_NHWC.shape[1] < pixels_NHWC.shape[2]:
            quality: NDArray[np.float32] = self._runtime.outputs(pixels_NHWC)
            return quality
        if self._error is not None:
            raise self._error
        return np.full(len(pixels_NHWC), np.nan, np.float32)


@pytest.mark.parametrize("stacks_up_to_px", [0, 10**9])
@pytest.mark.parametrize("error", [None, RuntimeError("no such layer")])
def test_a_fault_of_the_server_hurts_no_neighbour(
    loaded: tuple[IQAHandler, Context],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
    stacks_up_to_px: int,
) -> None:
    """NaN or an exception for one picture: 500 with an id that is in the log, 200 for the rest."""
    handler, _ = loaded
    alone = answer(loaded, [GOOD])[0][0]["score"]
    scorer = handler._scorer
    monkeypatch.setattr(scorer, "runtime", Broken(scorer.runtime, error, stacks_up_to_px))
    replies, statuses = answer(loaded, [GOOD, PORTRAIT, GOOD, b""], {"X-Request-ID": "mine-7"})
    assert statuses == [200, 500, 200, 400]
    assert [replies[i]["score"] for i in (0, 2)] == pytest.approx([alone, alone], abs=0.01)
    assert (replies[1]["reason"], replies[1]["code"]) == ("failed", 500)
    assert "mine-7" in replies[1]["message"]
    (line,) = [json.loads(one.getMessage()) for one in caplog.records if one.levelname == "ERROR"]
    assert (line["request_id"], line["status"]) == ("mine-7", 500)
    assert line["reason"] == ("score" if error is None else "network")
    assert ("got nan" if error is None else "no such layer") in line["traceback"]


def test_a_fault_of_a_decoder_hurts_no_neighbour(
    loaded: tuple[IQAHandler, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that no decoder should raise is that file's 500."""
    decode = iqa_handler.decode

    def trip(body: bytes, *how: Any) -> Any:
        if body == b"trip":
            raise ZeroDivisionError("in a decoder")
        return decode(body, *how)

    monkeypatch.setattr(iqa_handler, "decode", trip)
    assert answer(loaded, [GOOD, b"trip"])[1] == [200, 500]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_a_machine_at_its_end_is_left_to_torchserve(
    loaded: tuple[IQAHandler, Context], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Out of memory is no one picture's fault: TorchServe answers 507."""
    handler, _ = loaded
    scorer = handler._scorer
    monkeypatch.setattr(scorer, "runtime", Broken(scorer.runtime, error, False))
    with pytest.raises(type(error)):
        answer(loaded, [PORTRAIT])


def test_limits_come_from_the_model_configuration(directory: Path) -> None:
    """max_bytes and max_pixels of model-config.yaml are what is refused."""
    handler, context = IQAHandler(), make_context(directory, {"max_bytes": len(GOOD) - 1})
    handler.initialize(context)
    replies, statuses = answer((handler, context), [GOOD])
    assert statuses == [413]
    assert replies[0]["reason"] == "too_many_bytes"


@pytest.mark.parametrize(
    "setting", [{"runtime": "tensorrt"}, {"max_pixel": 1}, {"threads": 0}, {"max_age_s": 0}]
)
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
