"""What /openapi.json says of each answer: its status, shape and example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from iqa.errors import STATUS_OF_FAULT, STATUS_OF_REASON
from pydantic import BaseModel

from web.refusals import STATUS_OF, STATUS_OF_FRONT
from web.schemas import InferFailure, Refusal

Responses = dict[int | str, dict[str, Any]]

SCORED: Final = {
    "score": 83.0734, "label": "excellent", "interval": [76.2, 90.0], "coverage": 0.9,
    "causes": {"blur": 0, "noise": 0, "compression": 4}, "main_cause": None, "familiarity": 1.0,
    "model": {"name": "iqa", "version": "1"},
    "image": {"width": 768, "height": 512, "format": "JPEG"}, "warnings": [],
}  # fmt: skip
NAMED: Final = {**SCORED, "image_name": "parrots.jpg"}
REFUSED: Final = {
    "code": 415, "type": "ImageRejected", "reason": "unsupported_format",
    "message": "image: expected JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF, got a PDF document. "
    "Send an image file.",
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
INFERRED: Final = {
    "model_name": "iqa", "model_version": "1",
    "outputs": [{"name": "score", "datatype": "FP32", "shape": [1], "data": [83.0734]}],
}  # fmt: skip

ANYWHERE: Final = frozenset(STATUS_OF_FRONT.values())
"""Statuses that the front may refuse any request with."""
PICTURE: Final = frozenset({*STATUS_OF_REASON.values(), *STATUS_OF_FAULT.values(), 507})


def answers(model: type[BaseModel], description: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response's entry."""
    content = {"application/json": {"example": example}}
    return {"model": model, "description": description, "content": content}


def refusals(statuses: Iterable[int] = (), model: type[BaseModel] = Refusal) -> Responses:
    """
    Return the entries of refusals: those of the front, and others.

    Args:
        statuses: Others.
        model: Their shape.
    """
    found: Responses = {}
    for status in sorted({*ANYWHERE, *statuses}):
        reasons = [name for name, code in STATUS_OF.items() if code == status]
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
