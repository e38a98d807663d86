"""What /openapi.json says of replies: their shapes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from web.refusals import STATUS_OF

Reason = StrEnum("Reason", {name: name for name in STATUS_OF})  # type: ignore[misc]
"""Every reason why a request may get no score. The list is closed."""


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
