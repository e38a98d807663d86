"""
Errors that a caller may want to catch, and the one table from reason to HTTP status.

    ValueError
      +-- ImageRejected        the client's picture cannot be scored (4xx)
      +-- NotScored            the server did not score it, through no fault of the client (5xx)
      +-- CheckpointMismatch   weights and card do not fit this code (refused at load)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

STATUS_OF_REASON: Final[dict[str, int]] = {
    # The bytes are no image.
    "empty": 400,
    "undecodable": 400,
    "truncated": 400,
    # A form with several files: which one is meant?
    "too_many_files": 400,
    # Too large.
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    # A format, mode or Content-Encoding that is not supported.
    "unsupported_format": 415,
    "unsupported_mode": 415,
    "unsupported_encoding": 415,
    # Decodable, but cannot be scored.
    "too_small": 422,
    "too_narrow": 422,
    # The picture is well; what is asked about it cannot be given. 404 and not 501: that a model
    # has no map is no failure of the server, and must not count as one where failures are counted.
    "unknown_format": 400,
    "bad_top_k": 400,
    "unknown_class": 400,
    "no_quality_map": 404,
}
"""HTTP status of each reason for which a picture is refused. The list is closed."""

STATUS_OF_FAULT: Final[dict[str, int]] = {
    # 500 and not 503: whoever watches a new version tells a broken one from a full queue.
    "failed": 500,
    # It waited longer than its client will have waited; the picture was not looked at.
    "expired": 503,
}
"""HTTP status of each reason for which the server leaves an image unscored; closed as well."""


class _Answered(ValueError):
    """An error that one request is answered with; its neighbours in the batch are not touched."""

    _statuses: ClassVar[Mapping[str, int]] = {}

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = self._statuses[reason]

    def body(self) -> dict[str, object]:
        """Return the reply's JSON body: TorchServe's own three fields, and the reason."""
        return {
            "code": self.status,
            "type": type(self).__name__,
            "message": str(self),
            "reason": self.reason,
        }


class ImageRejected(_Answered):
    """
    A picture that cannot be scored, through no fault of the server.

    Args:
        reason: A key of `STATUS_OF_REASON`.
        message: `<what>: expected <x>, got <y>. <what to do>`.
    """

    _statuses = STATUS_OF_REASON


class NotScored(_Answered):
    """
    A picture that the server left unscored, through no fault of the client.

    Args:
        reason: A key of `STATUS_OF_FAULT`.
        message: As of `ImageRejected`.
    """

    _statuses = STATUS_OF_FAULT


class CheckpointMismatch(ValueError):
    """A checkpoint whose card, weights or preprocessing disagree with this code."""
