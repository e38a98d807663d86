"""
Why a request is not answered with a score: the closed list of reasons, and the reply's one shape.

Most reasons come from elsewhere and are passed on as they are: the handler's (`iqa.errors`) and the
front's (`torchserve/front/nginx.conf.template`, which a test compares).
"""

from __future__ import annotations

import json
from typing import Any, Final

from iqa.errors import STATUS_OF_FAULT, STATUS_OF_REASON

from web.torchserve_client import Answer

STATUS_OF_FRONT: Final[dict[str, int]] = {
    "bad_request": 400,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_many_bytes": 413,
    "uri_too_long": 414,
    "too_many_requests": 429,
    "headers_too_large": 431,
    "internal": 500,
    "overloaded": 503,
    "unavailable": 503,
    "stopping": 503,
    "timeout": 504,
}
"""What the front refuses."""

STATUS_OF_GATEWAY: Final[dict[str, int]] = {
    "unauthorized": 401,
    "forbidden": 403,
    "reload_refused": 409,
    "reload_under_way": 409,
}
"""What only the gateway refuses: a reload."""

STATUS_OF: Final[dict[str, int]] = {
    **STATUS_OF_REASON, **STATUS_OF_FAULT, **STATUS_OF_FRONT, **STATUS_OF_GATEWAY,
}  # fmt: skip
"""Every reason, and its status."""

# TorchServe's own refusals have no reason; without a front they come as they are.
REASON_OF_STATUS: Final = {
    400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_many_bytes",
    503: "overloaded", 504: "timeout", 507: "overloaded",
}  # fmt: skip
RETRY_S: Final = {"overloaded": b"1", "unavailable": b"2", "stopping": b"2"}
JSON_TYPE: Final = (b"content-type", b"application/json")


class Refused(Exception):
    """
    A request that the gateway itself refuses.

    Args:
        reason: A key of `STATUS_OF`.
        message: `<what>: expected <x>, got <y>. <what to do>.`
        kind: The reply's `type`.
    """

    def __init__(self, reason: str, message: str, kind: str = "RequestRefused") -> None:
        super().__init__(message)
        self.reason, self.status, self.kind = reason, STATUS_OF[reason], kind

    def document(self) -> dict[str, Any]:
        """Return the reply."""
        return {
            "code": self.status, "type": self.kind, "message": str(self), "reason": self.reason,
        }  # fmt: skip

    def answer(self) -> Answer:
        """Return the reply as an answer."""
        headers = {}
        if self.reason in RETRY_S:
            headers[b"retry-after"] = RETRY_S[self.reason]
        if self.reason == "unauthorized":
            headers[b"www-authenticate"] = b"Bearer"
        return Answer(self.status, json.dumps(self.document()).encode() + b"\n", headers)


def unavailable(error: BaseException) -> Refused:
    """Return the refusal of a request for which the inference port had no answer."""
    if isinstance(error, TimeoutError):
        return Refused("timeout", "server: expected an answer in time, got none.", "Unavailable")
    return Refused(
        "unavailable",
        "server: expected it to answer, got no connection. It is being restarted; send it again "
        "after the seconds in Retry-After.",
        "Unavailable",
    )


def with_reason(answer: Answer) -> Answer:
    """Return an answer of 4xx or 5xx in our one shape, whoever refused."""
    try:
        document = json.loads(answer.body)
        if document["reason"] in STATUS_OF and STATUS_OF[document["reason"]] == answer.status:
            return answer
    except (ValueError, KeyError, TypeError):
        document = {}
    said = str(document.get("message", "")) if isinstance(document, dict) else ""
    reason = REASON_OF_STATUS.get(answer.status, "internal")
    refused = Refused(reason, f"server: expected a score, got {answer.status} {said}".rstrip())
    return refused.answer()
