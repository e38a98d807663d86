"""The Open Inference Protocol's messages: tensors in JSON and in binary."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from web import open_inference_messages


def packed(*elements: bytes) -> bytes:
    """Return a BYTES tensor in binary."""
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def request_of(tail: bytes, **changes: Any) -> tuple[bytes, int]:
    """Return a request with a binary tensor, and the length of its JSON."""
    tensor = {
        "name": "image", "datatype": "BYTES", "shape": [2],
        "parameters": {"binary_data_size": len(tail)},
    }  # fmt: skip
    head = json.dumps({"inputs": [{**tensor, **changes}]}).encode()
    return head + tail, len(head)


def test_binary_tensors_are_read_and_written() -> None:
    """Elements of any bytes, empty ones too; each output as it is asked for."""
    body, size = request_of(packed(b"ab\0", b""))
    request = open_inference_messages.read(body, size)
    assert [bytes(one) for one in request.images] == [b"ab\0", b""]
    replies = [{"score": 1.5, "label": "poor", "interval": [0.0, 3.0]}, {"score": 2.5}]
    content, n_head = open_inference_messages.reply(request, "iqa", "1", replies)
    assert n_head is None
    outputs = {one["name"]: one for one in json.loads(content)["outputs"]}
    assert outputs["score"]["data"] == [1.5, 2.5]
    assert outputs["interval"]["data"] == [0.0, 3.0, 2.5, 2.5]
    assert outputs["label"]["data"] == ["poor", ""]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{}", b"[" * 100_000, b'{"inputs": 1}', b'{"inputs": [1]}',
        b'{"inputs": [{"datatype": "FP32"}]}',
        b'{"inputs": [{"datatype": "BYTES"}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["%%"]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [2], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [true], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1, 2], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [9999], "data": ["AA=="]}]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["AA=="]}], "outputs": [1]}',
        b'{"inputs": [{"datatype": "BYTES", "shape": [1], "data": ["AA=="]}], "outputs": [{}]}',
    ],
)  # fmt: skip
def test_what_is_not_of_the_protocol_is_refused(body: bytes) -> None:
    """One error, whatever is wrong."""
    with pytest.raises(open_inference_messages.Malformed):
        open_inference_messages.read(body, None)


@pytest.mark.parametrize(
    ("tail", "changes"),
    [
        (packed(b"a"), {}),
        (packed(b"a", b"b", b"c"), {}),
        (b"\xff\xff\xff\xff", {}),
        (packed(b"a") + b"\1", {}),
        (packed(b"a", b"b"), {"parameters": {"binary_data_size": 3}}),
        (packed(b"a", b"b"), {"parameters": {"binary_data_size": "x"}}),
    ],
)
def test_binary_tensors_that_do_not_add_up_are_refused(tail: bytes, changes: Any) -> None:
    """No length in a request is believed."""
    body, size = request_of(tail, **changes)
    with pytest.raises(open_inference_messages.Malformed):
        open_inference_messages.read(body, size)
    with pytest.raises(open_inference_messages.Malformed):
        open_inference_messages.read(body, len(body) + 1)


def test_base64_may_be_a_data_uri_or_have_line_breaks() -> None:
    """As browsers and mail programs write it."""
    text = base64.b64encode(b"picture").decode()
    for one in (text, f"data:image/png;base64,{text}", f"{text[:4]}\n{text[4:]}"):
        tensor = {"datatype": "BYTES", "shape": [1], "data": [one]}
        body = json.dumps({"inputs": [tensor]}).encode()
        assert bytes(open_inference_messages.read(body, None).images[0]) == b"picture"
