"""
The Open Inference Protocol's messages (version 2, REST): a request -> images, scores -> a reply.

    JSON     {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [BASE64]}]}
    binary   JSON as long as Inference-Header-Content-Length says, then the tensors: of BYTES each
             element with its length before it, four bytes, little-endian

Protocol: kserve/open-inference-protocol, specification/protocol/inference_rest.md; the binary
extension: triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_IMAGES: Final = 100
MAX_HEADER_BYTES: Final = 64 * 1024
# Commas, colons and brackets: parsing makes an object or two at each, a gigabyte of 46 MB.
MAX_JSON_MARKS: Final = 5000
OUTPUTS: Final = ("score", "label", "interval", "reply")
DATATYPES: Final = {"score": "FP32", "label": "BYTES", "interval": "FP32", "reply": "BYTES"}
INPUT: Final = {"name": "image", "datatype": "BYTES", "shape": [-1]}


class Malformed(ValueError):
    """A message that is not of the protocol, or asks for what this model does not have (400)."""


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """
    What is asked.

    Attributes:
        images: Files, 1 to `MAX_IMAGES`.
        shape: Of the input: [n] or [n, 1].
        outputs: {name: whether it is wanted in binary}.
        request_id: Given by the client; is in the reply.
    """

    images: list[memoryview]
    shape: list[int]
    outputs: dict[str, bool]
    request_id: str | None


def read(body: bytes, n_header: int | None) -> InferRequest:
    """
    Read a request.

    Args:
        body: As a whole.
        n_header: Inference-Header-Content-Length; None: all is JSON.

    Raises:
        Malformed: See there.
    """
    size = len(body) if n_header is None else n_header
    if not 0 <= size <= len(body):
        raise Malformed(
            f"Inference-Header-Content-Length: expected at most {len(body)}, got {size}."
        )
    if n_header is not None and n_header > MAX_HEADER_BYTES:
        raise Malformed(f"JSON: expected at most {MAX_HEADER_BYTES} bytes, got {n_header}.")
    document = _document(body[:size])
    tensor = _input(document)
    images, shape = _images(tensor, memoryview(body)[size:])
    request_id = document.get("id")
    return InferRequest(
        images=images,
        shape=shape,
        outputs=_outputs(document),
        request_id=request_id if isinstance(request_id, str) else None,
    )


def reply(
    request: InferRequest, model_name: str, version: str, replies: Sequence[dict[str, Any]]
) -> tuple[bytes, int | None]:
    """
    Write a reply.

    Args:
        request: What is answered.
        model_name: That scored.
        version: Of the model.
        replies: Of `/predictions/NAME`, one an image.

    Returns:
        Body, and the length of its JSON part where binary tensors follow.
    """
    outputs, tail = [], []
    for name, is_binary in request.outputs.items():
        output: dict[str, Any] = {"name": name, "datatype": DATATYPES[name], "shape": request.shape}
        values = [_value(name, one) for one in replies]
        if name == "interval":
            output["shape"] = [*request.shape, 2]
            values = [bound for pair in values for bound in pair]
        if is_binary:
            packed = _packed(DATATYPES[name], values)
            output["parameters"] = {"binary_data_size": len(packed)}
            tail.append(packed)
        else:
            output["data"] = values
        outputs.append(output)
    document = {"model_name": model_name, "model_version": version, "outputs": outputs}
    if request.request_id is not None:
        document["id"] = request.request_id
    head = json.dumps(document).encode()
    return b"".join([head, *tail]), len(head) if tail else None


def _document(text: bytes) -> dict[str, Any]:
    marks = sum(text.count(mark) for mark in (b",", b":", b"[", b"{"))
    if marks > MAX_JSON_MARKS:
        raise Malformed(f"JSON: expected one tensor of base64 texts, got {marks} values and more.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"JSON: expected an object, got none ({str(error)[:80]}).") from error
    if not isinstance(document, dict):
        raise Malformed(f"JSON: expected an object, got {type(document).__name__}.")
    return document


def _input(document: dict[str, Any]) -> dict[str, Any]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Malformed("inputs: expected one tensor, 'image', of BYTES, got another number.")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise Malformed(
            f"datatype: expected BYTES, the image files, got {str(tensor.get('datatype'))[:20]}. "
            "Pixels are not taken: the server decodes as it does everywhere."
        )
    return tensor


def _images(tensor: dict[str, Any], tail: memoryview) -> tuple[list[memoryview], list[int]]:
    shape: Any = tensor.get("shape")
    is_shape = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
    if not is_shape or not 1 <= len(shape) <= 2 or (len(shape) == 2 and shape[1] != 1):
        raise Malformed(f"shape: expected [n] or [n, 1], got {str(shape)[:40]}.")
    if shape[0] > MAX_IMAGES:
        raise Malformed(f"shape: expected at most {MAX_IMAGES} images, got {shape[0]}.")
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        images = _from_base64(tensor.get("data"))
    elif size == len(tail):
        images = _unpacked(tail)
    else:
        raise Malformed(f"binary_data_size: expected {len(tail)}, got {str(size)[:20]}.")
    if len(images) != shape[0]:
        raise Malformed(f"image: expected {shape[0]} elements, as shape says, got {len(images)}.")
    return images, shape


def _from_base64(data: Any) -> list[memoryview]:
    if not isinstance(data, list):
        raise Malformed("data: expected a list of images in base64, got none.")
    images = []
    for element in data:
        text = element[0] if isinstance(element, list) and len(element) == 1 else element
        if not isinstance(text, str):
            raise Malformed(f"data: expected text in base64, got {type(text).__name__}.")
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            images.append(memoryview(base64.b64decode("".join(text.split()), validate=True)))
        except (binascii.Error, ValueError) as error:
            raise Malformed(f"data: expected base64, got none ({error}).") from error
    return images


def _unpacked(tail: memoryview) -> list[memoryview]:
    images, at = [], 0
    while at < len(tail):
        if at + 4 > len(tail):
            raise Malformed("image: expected a length of 4 bytes before each element, got fewer.")
        (size,) = struct.unpack_from("<I", tail, at)
        at += 4
        if at + size > len(tail):
            raise Malformed(f"image: expected an element of {size} bytes, got {len(tail) - at}.")
        images.append(tail[at : at + size])
        at += size
        if len(images) > MAX_IMAGES:
            raise Malformed(f"image: expected at most {MAX_IMAGES} elements, got more.")
    return images


def _outputs(document: dict[str, Any]) -> dict[str, bool]:
    parameters = document.get("parameters")
    is_binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    wanted = document.get("outputs")
    if not wanted:
        return dict.fromkeys(OUTPUTS, is_binary)
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise Malformed("outputs: expected a list of objects, got none.")
    outputs = {}
    for one in wanted:
        name = one.get("name")
        if name not in OUTPUTS:
            raise Malformed(f"output: expected one of {', '.join(OUTPUTS)}, got {str(name)[:40]}.")
        own = one.get("parameters")
        said = own.get("binary_data", is_binary) if isinstance(own, dict) else is_binary
        outputs[name] = said is True
    return outputs


def _value(name: str, reply: dict[str, Any]) -> Any:
    """
    Return a tensor's element.

    A model of classes has its confidence as the score, and the predicted label. Where a model
    promises no interval it is the score twice: NaN is no JSON.
    """
    if name == "reply":
        return json.dumps(reply)
    if name == "label":
        return reply.get("label", reply.get("predicted_label", ""))
    score = reply.get("score", reply.get("confidence", 0.0))
    return score if name == "score" else reply.get("interval") or [score, score]


def _packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "FP32":
        return struct.pack(f"<{len(values)}f", *values)
    texts = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
