"""
Errors that a caller may want to catch, and the one table from reason to HTTP status.

    ValueError
      +-- ImageRejected        the client's picture cannot be scored (4xx)
      +-- CheckpointMismatch   weights and card do not fit this code (refused at load)
"""

from __future__ import annotations

from typing import Final

STATUS_OF_REASON: Final[dict[str, int]] = {
    # The bytes are no image.
    "empty": 400,
    "undecodable": 400,
    "truncated": 400,
    # Too large.
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    # A format or mode that is not supported.
    "unsupported_format": 415,
    "unsupported_mode": 415,
    # Decodable, but cannot be scored.
    "too_small": 422,
    "too_narrow": 422,
}
"""HTTP status of each reason for which a picture is refused. The list is closed."""


class ImageRejected(ValueError):
    """
    A picture that cannot be scored, through no fault of the server.

    Args:
        reason: A key of `STATUS_OF_REASON`.
        message: `<what>: expected <x>, got <y>. <what to do>`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = STATUS_OF_REASON[reason]

    def body(self) -> dict[str, object]:
        """Return the reply's JSON body: TorchServe's own three fields, and the reason."""
        return {
            "code": self.status,
            "type": type(self).__name__,
            "message": str(self),
            "reason": self.reason,
        }


class CheckpointMismatch(ValueError):
    """A checkpoint whose card, weights or preprocessing disagree with this code."""
