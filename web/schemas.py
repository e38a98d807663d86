"""What /openapi.json says of requests and replies: the shapes, and an example of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Literal

from iqa.errors import STATUS_OF_FAULT, STATUS_OF_REASON
from pydantic import BaseModel, ConfigDict, Field

from web.refusals import STATUS_OF, STATUS_OF_FRONT

Reason = StrEnum("Reason", {name: name for name in STATUS_OF})  # type: ignore[misc]
"""Every reason why a request may get no score. The list is closed."""

Responses = dict[int | str, dict[str, Any]]


class _Reply(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), extra="allow")


class Model(_Reply):
    """What scored."""

    name: str
    version: str = Field(description="In the registry.")


class Image(_Reply):
    """The image as it was decoded."""

    width: int = Field(description="Pixels, after rotation by EXIF.")
    height: int
    format: str


class Score(_Reply):
    """The reply of `/predictions/iqa`."""

    score: float | None = Field(default=None, ge=0, le=100, description="Higher is better.")
    label: str | None = Field(default=None, description="poor, fair, good or excellent.")
    interval: list[float] | None = Field(
        default=None, description="What people would say lies in it as often as `coverage` says."
    )
    coverage: float | None = None
    decision: Literal["accept", "review", "reject"] | None = Field(
        default=None, description="Where the server has thresholds."
    )
    causes: dict[str, int] | None = Field(
        default=None, description="Points of 0 (none) to 100 by fault."
    )
    main_cause: str | None = Field(default=None, description="The fault that leads, if one does.")
    familiarity: float | None = Field(
        default=None, ge=0, le=1, description="How like the photographs of training the image is."
    )
    predicted_class: int | None = Field(default=None, description="Of a model of classes.")
    predicted_label: str | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    probabilities: dict[str, float] | None = Field(
        default=None,
        description="By label, the likeliest first; of more than 20 classes five, or `top_k`.",
    )
    model: Model
    image: Image
    warnings: list[str]


class NamedScore(Score):
    """The reply of `/predictions/iqa`, and the name of the file."""

    image_name: str | None = Field(description="Of the file in the form; null for a raw body.")


class Refusal(_Reply):
    """Why there is no score."""

    code: int = Field(description="The status.")
    type: str
    message: str = Field(description="What was expected, what came, what to do.")
    reason: Reason


class BatchResult(_Reply):
    """One file's score, or its refusal: `status` is what the file alone would have got."""

    image_name: str | None
    status: int
    score: float | None = None
    label: str | None = None
    predicted_label: str | None = None
    reason: Reason | None = None
    message: str | None = None


class Batch(_Reply):
    """Results in the order of the files."""

    scored: int
    refused: int
    results: list[BatchResult]


class Health(_Reply):
    """Whether requests may come."""

    status: Literal["ok", "unavailable"]
    model_status: Literal["loaded", "not_ready"]
    model_name: str
    model_version: str | None
    model_info: str = Field(description="The alias whose version is served.")
    reason: str


class Reloaded(_Reply):
    """What a reload did."""

    status: Literal["ok"]
    message: str
    model_name: str
    model_version: str | None
    previous_version: str | None
    seconds: float
    log: list[str]


class Live(_Reply):
    """The gateway answers."""

    live: bool


class Ready(_Reply):
    """What GET /ready of the supervisor says."""

    ready: bool


class ModelReady(_Reply):
    """The same of one model."""

    name: str
    ready: bool


class ServerMetadata(_Reply):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class Tensor(_Reply):
    """A tensor; `data`, or bytes after the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class ModelMetadata(_Reply):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class InferReply(_Reply):
    """An element for each image in each output."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]


class InferFailure(_Reply):
    """The protocol's error, with our reason."""

    error: str
    reason: Reason


SCORED: Final = {
    "score": 82.1092, "label": "excellent", "interval": [74.6, 89.6], "coverage": 0.9,
    "causes": {"blur": 0, "noise": 0, "compression": 4}, "main_cause": None, "familiarity": 1.0,
    "model": {"name": "iqa", "version": "1"},
    "image": {"width": 768, "height": 512, "format": "JPEG"}, "warnings": [],
}  # fmt: skip
NAMED: Final = {**SCORED, "image_name": "parrots.jpg"}
REFUSED: Final = {
    "code": 415, "type": "ImageRejected", "reason": "unsupported_format",
    "message": "image: expected JPEG, PNG, WebP, BMP, TIFF or GIF, got PDF. Convert it first.",
}  # fmt: skip
IS_OK: Final = {
    "status": "ok", "model_status": "loaded", "model_name": "iqa", "model_version": "1",
    "model_info": "Alias: staging", "reason": "ready",
}  # fmt: skip
RELOADED: Final = {
    "status": "ok", "message": "iqa version 2 is served; version 1 was before",
    "model_name": "iqa", "model_version": "2", "previous_version": "1", "seconds": 14.2,
    "log": ["version 2: loading iqa-2.mar"],
}  # fmt: skip
INFER: Final = {
    "inputs": [
        {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["<an image in base64>"]}
    ],
    "outputs": [{"name": "score"}],
}
INFERRED: Final = {
    "model_name": "iqa", "model_version": "1",
    "outputs": [{"name": "score", "datatype": "FP32", "shape": [1], "data": [82.1092]}],
}  # fmt: skip

ANYWHERE: Final = frozenset(STATUS_OF_FRONT.values())
"""Statuses that the front may refuse any request with."""
PICTURE: Final = frozenset({*STATUS_OF_REASON.values(), *STATUS_OF_FAULT.values(), 507})


def answers(model: type[BaseModel], description: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response's entry."""
    content = {"application/json": {"example": example}}
    return {"model": model, "description": description, "content": content}


def refusals(
    statuses: Iterable[int] = (), model: type[BaseModel] = Refusal, only: Iterable[str] = ()
) -> Responses:
    """
    Return the entries of refusals: those of the front, and others.

    Args:
        statuses: Others.
        model: Their shape.
        only: The reasons of these; empty: all that have the status.
    """
    found: Responses = {}
    for status in sorted({*ANYWHERE, *statuses}):
        reasons = [name for name, code in STATUS_OF.items() if code == status]
        reasons = [name for name in reasons if not only or name in {*only, *STATUS_OF_FRONT}]
        reason = reasons[0] if reasons else "overloaded"
        message = "what: expected this, got that. Do so."
        example: dict[str, Any] = {
            "code": status, "type": "RequestRefused", "message": message, "reason": reason,
        }  # fmt: skip
        if status == 415:
            example = REFUSED
        if model is InferFailure:
            example = {"error": message, "reason": reason}
        found[status] = answers(
            model, f"{HTTPStatus(status).phrase}: {', '.join(reasons) or reason}", example
        )
        if status in (429, 503):
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}
            }
    return found


FILE: Final = {"type": "string", "format": "binary", "description": "An image file."}
ONE_FILE: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": FILE, "data": {**FILE, "description": "The same."}},
                }
            },
            "application/octet-stream": {"schema": FILE},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "description": "In base64."}},
                    "required": ["image"],
                },
                "example": {"image": "<an image in base64>"},
            },
        },
    }
}
MANY_FILES: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "maxItems": 100, "minItems": 1, "items": FILE}
                    },
                    "required": ["file"],
                }
            }
        },
    }
}
INFER_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {
                            "type": "array", "minItems": 1, "maxItems": 1,
                            "items": {"$ref": "#/components/schemas/Tensor"},
                        },
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "name": {"enum": ["score", "label", "interval", "reply"]}
                                },
                                "required": ["name"],
                            },
                        },
                    },
                    "required": ["inputs"],
                },
                "example": json.loads(json.dumps(INFER)),
            },
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
            },
        },
    },
    "parameters": [
        {
            "name": "Inference-Header-Content-Length", "in": "header", "required": False,
            "description": "Bytes of JSON before the tensors (binary extension).",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
}  # fmt: skip
