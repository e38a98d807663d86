"""The gateway before a real TorchServe: forms, batches, the Open Inference Protocol."""

from __future__ import annotations

import base64
import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.asking import PICTURE, SCORE_FIELDS, ask, expect_refusal, post, process_of
from tests.conftest import python
from tests.server import RunningServer
from web.torchserve_client import REPEATABLE_BYTES


def test_the_start_says_where_the_page_is(gateway: RunningServer) -> None:
    """Its address is among the first words, and it is there, with what it refers to."""
    base = f"http://127.0.0.1:{gateway.environment['INFERENCE_PORT']}"
    assert f"page:        {base}/\n" in gateway.first_words
    assert f"API:         {base}/docs\n" in gateway.first_words
    for path in ("/", "/predict-ui", "/docs"):
        page = ask(gateway, path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in page.headers["content-security-policy"] or path != "/docs"


def test_swaggers_page_asks_no_other_host(gateway: RunningServer) -> None:
    """All that /docs names is here."""
    page = ask(gateway, "/docs").text
    assert "http://" not in page and "https://" not in page
    for path in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js"):
        assert f'"/docs/{path}"' in page
        reply = ask(gateway, f"/docs/{path}")
        assert reply.status_code == 200
        assert len(reply.content) > 50
    expect_refusal(ask(gateway, "/docs/../api.py"), 404, "not_found")
    expect_refusal(ask(gateway, "/docs/core.py"), 404, "not_found")


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/predict?model=iqa"])
@pytest.mark.parametrize("field", ["file", "data"])
def test_a_form_gets_the_reply_of_predictions_and_its_name(
    gateway: RunningServer, path: str, field: str
) -> None:
    """POST /predict answers as /predictions/iqa does, with `image_name` beside it."""
    name = "một tấm ảnh.jpg"
    reply = post(gateway, path, files={field: (name, PICTURE)})
    assert reply.status_code == 200, reply.text
    document = reply.json()
    assert document.pop("image_name") == name
    assert document == gateway.score(PICTURE)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
def test_what_predictions_takes_predict_takes(gateway: RunningServer, path: str) -> None:
    """The file itself, base64 in JSON, gzip, chunks and a large form pass, by both ways."""
    wanted = gateway.score(PICTURE)["score"]
    text = base64.b64encode(PICTURE).decode()
    large = PICTURE + bytes(REPEATABLE_BYTES + 100_000)  # zeros behind a JPEG are passed over
    sent: list[dict[str, Any]] = [
        {"data": PICTURE},
        {"json": {"image": text}},
        {"data": gzip.compress(PICTURE), "headers": {"Content-Encoding": "gzip"}},
        {"data": iter([PICTURE[:1000], PICTURE[1000:]])},
        {"data": large},
    ]
    for arguments in sent:
        reply = post(gateway, path, **arguments)
        assert reply.status_code == 200, reply.text
        assert reply.json()["score"] == wanted
        assert reply.json()["image_name"] is None
    named = post(gateway, path, data={"a": "b"}, files={"file": ("C:\\x\\y.jpg", large)})
    assert named.json()["image_name"] == "y.jpg"


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        ({"data": b"no picture"}, 400, "undecodable"),
        ({}, 400, "empty"),
        ({"files": {"file": ("a.jpg", b"")}}, 400, "empty"),
        ({"files": [("file", ("a", PICTURE)), ("data", ("b", PICTURE))]}, 400, "too_many_files"),
        ({"data": PICTURE[:-9000]}, 400, "truncated"),
        ({"data": b"%PDF-1.7 " + bytes(50)}, 415, "unsupported_format"),
        ({"data": PICTURE, "headers": {"Content-Encoding": "br"}}, 415, "unsupported_encoding"),
        ({"data": bytes(50_000_000)}, 413, "too_many_bytes"),
        ({"data": PICTURE, "params": {"model": "nope"}}, 404, "not_found"),
        ({"data": PICTURE, "params": {"model": ""}}, 404, "not_found"),
    ],
)
def test_refusals_are_those_of_the_server(
    gateway: RunningServer, arguments: dict[str, Any], status: int, reason: str
) -> None:
    """Same limits, same reasons, same shape."""
    expect_refusal(post(gateway, "/predict", **arguments), status, reason)


def test_other_methods_and_paths_are_refused_in_our_shape(gateway: RunningServer) -> None:
    """405 names the method; 404 comes for what is not there."""
    for path, allowed in (("/predict", "POST"), ("/predict/batch", "POST")):
        reply = ask(gateway, path)
        expect_refusal(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == allowed
    expect_refusal(post(gateway, "/predictx"), 404, "not_found")
    assert ask(gateway, "/v2/nope").json()["reason"] == "not_found"


@pytest.mark.parametrize("path", ["/predictions/iqa%0A", "/explanations/iqa%0A", "/predict%0A"])
def test_a_line_break_in_a_path_goes_nowhere(gateway: RunningServer, path: str) -> None:
    """It would end the request's first line on its way to TorchServe; /v2 keeps its own shape."""
    expect_refusal(post(gateway, path, data=PICTURE), 404, "not_found")
    reply = ask(gateway, "/v2/models/a%0Ab/ready")
    assert (reply.status_code, set(reply.json())) == (404, {"error", "reason"})


def test_request_ids_are_kept(gateway: RunningServer) -> None:
    """The client's own, or the front's, comes back; an answer that came has it too."""
    given = {"X-Request-ID": "mine-1"}
    for path in ("/predict", "/predict/batch", "/v2/models/iqa/infer"):
        assert post(gateway, path, data=b"x", headers=given).headers["x-request-id"] == "mine-1"
        assert len(post(gateway, path, data=b"x").headers["x-request-id"]) == 32


def test_a_batch_has_a_result_for_each_file_in_order(gateway: RunningServer) -> None:
    """Of 100 files three are broken: 97 scores and three reasons, each in its place."""
    broken = {7: (b"no picture", 400), 50: (b"%PDF-1.7 " + bytes(50), 415), 99: (b"", 400)}
    files = [
        ("file", (f"{index}.jpg", broken[index][0] if index in broken else PICTURE))
        for index in range(100)
    ]
    reply = post(gateway, "/predict/batch", files=files)
    assert reply.status_code == 200, reply.text
    document = reply.json()
    assert (document["scored"], document["refused"]) == (97, 3)
    wanted = gateway.score(PICTURE)["score"]
    for index, result in enumerate(document["results"]):
        assert result["image_name"] == f"{index}.jpg"
        if index in broken:
            assert result["status"] == broken[index][1]
            assert result["reason"] and result["message"]
        else:
            assert set(result) == SCORE_FIELDS | {"image_name", "status"}
            assert (result["status"], result["score"]) == (200, wanted)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"files": [("file", (f"{i}.jpg", b"x")) for i in range(101)]}, "too_many_files"),
        ({"data": PICTURE}, "undecodable"),
        ({"data": {"a": "b"}, "files": {"c": (None, "text")}}, "empty"),
        (
            {
                "data": b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc',
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
            "undecodable",
        ),
        ({"files": [*(("a", (None, "text")) for _ in range(300)), ("f", PICTURE)]}, "undecodable"),
    ],
)
def test_a_batch_that_is_none_is_refused(
    gateway: RunningServer, arguments: dict[str, Any], reason: str
) -> None:
    """Too many files, no form, a form without files, one that breaks off, too many fields."""
    expect_refusal(post(gateway, "/predict/batch", **arguments), 400, reason)


def test_a_large_batch_needs_the_memory_of_a_few_files(gateway: RunningServer) -> None:
    """40 files of 15 MB, 600 MB in all, pass within 250 MB; before, it holds less than 90 MB."""
    process = process_of(gateway)
    assert process.memory_info().rss < 90e6
    large = bytes(15_000_000)
    most = 0

    def look() -> None:
        nonlocal most
        while not done:
            most = max(most, process.memory_info().rss)
            time.sleep(0.05)

    done = False
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        files = [("file", (f"{i}.jpg", large)) for i in range(40)]
        reply = post(gateway, "/predict/batch", files=files)
        done = True
        looking.result()
    assert reply.json()["refused"] == 40
    assert most < 250e6


def test_tritons_client_works_unmodified(gateway: RunningServer) -> None:
    """`tritonclient[http]`: health, metadata, inference in binary and in JSON, errors in words."""
    wanted = gateway.score(PICTURE)
    with triton.InferenceServerClient(f"127.0.0.1:{gateway.environment['INFERENCE_PORT']}") as it:
        assert it.is_server_live() and it.is_server_ready()
        assert it.is_model_ready("iqa") and it.is_model_ready("iqa", "1")
        assert not it.is_model_ready("iqa", "7")
        assert "binary_tensor_data" in it.get_server_metadata()["extensions"]
        described = it.get_model_metadata("iqa", "1")
        assert described["versions"] == ["1"]
        image = triton.InferInput("image", [3], described["inputs"][0]["datatype"])
        image.set_data_from_numpy(np.array([PICTURE] * 3, dtype=object))
        told = it.infer("iqa", [image])
        np.testing.assert_allclose(told.as_numpy("score"), [wanted["score"]] * 3, rtol=1e-6)
        assert told.as_numpy("interval").shape == (3, 2)
        assert told.as_numpy("label").tolist() == [wanted["label"].encode()] * 3
        assert json.loads(told.as_numpy("reply")[2]) == wanted
        plain = triton.InferRequestedOutput("score", binary_data=False)
        told = it.infer("iqa", [image], model_version="1", outputs=[plain], request_id="mine")
        assert told.get_response()["id"] == "mine"
        assert [one["name"] for one in told.get_response()["outputs"]] == ["score"]
        with pytest.raises(InferenceServerException, match="version: expected 1"):
            it.infer("iqa", [image], model_version="2")
        with pytest.raises(InferenceServerException, match="model: expected one of iqa"):
            it.infer("other", [image])
        image.set_data_from_numpy(np.array([PICTURE, b"x", PICTURE], dtype=object))
        with pytest.raises(InferenceServerException, match="image 1: body: expected an image"):
            it.infer("iqa", [image])


def test_an_image_in_base64_is_scored(gateway: RunningServer) -> None:
    """The protocol without its binary extension: BYTES in JSON are base64."""
    text = base64.b64encode(PICTURE).decode()
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [[text]]}
    reply = post(gateway, "/v2/models/iqa/infer", json={"inputs": [tensor]})
    outputs = {one["name"]: one for one in reply.json()["outputs"]}
    assert outputs["score"]["data"] == [gateway.score(PICTURE)["score"]]
    assert (outputs["score"]["shape"], outputs["interval"]["shape"]) == ([1, 1], [1, 1, 2])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/predictions/iqa?top_k=3", None),
        ("/predictions/iqa?top_k=three", "bad_top_k"),
        ("/predict?top_k=3", None),
        ("/predict?top_k=0", "bad_top_k"),
        ("/predict?top_k=", None),
        ("/predictions/iqa?top_k=", None),
        ("/predict?top_k=%33", None),
        ("/predictions/iqa?top_k=%33", None),
        ("/predict?top_k=%20", "bad_top_k"),
        ("/predict?top_k=1%0d%0aX-Request-ID:%20forged", "bad_top_k"),
        ("/explanations/iqa?class=Hat", "unknown_class"),
    ],
)
def test_what_follows_the_question_mark_reaches_the_handler(
    gateway: RunningServer, path: str, reason: str | None
) -> None:
    """As a header, by the front and by the gateway; TorchServe itself drops it."""
    reply = post(gateway, path, data=PICTURE)
    if reason is None:
        assert reply.status_code == 200, reply.text
        return
    expect_refusal(reply, 400, reason)
    assert "forged" not in reply.headers["x-request-id"]


def test_top_k_goes_with_each_file_and_each_image(gateway: RunningServer) -> None:
    """Of a batch each result says so; the protocol has one status for all."""
    files = [("file", ("a.jpg", PICTURE)), ("file", ("b.jpg", PICTURE))]
    reply = post(gateway, "/predict/batch?top_k=none", files=files)
    assert [one["reason"] for one in reply.json()["results"]] == ["bad_top_k", "bad_top_k"]
    image = {"name": "image", "shape": [1], "datatype": "BYTES"}
    document = {"inputs": [{**image, "data": [base64.b64encode(PICTURE).decode()]}]}
    reply = post(gateway, "/v2/models/iqa/infer?top_k=none", json=document)
    assert (reply.status_code, reply.json()["reason"]) == (400, "bad_top_k")


def test_the_openapi_file_holds_for_made_up_requests(gateway: RunningServer) -> None:
    """Some hundred requests by Schemathesis: no 5xx, nothing that the file does not name."""
    done = python(
        "-m", "tests.attack.api_fuzz", "--cases", "50", "--url", gateway.url("INFERENCE_PORT", "")
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
