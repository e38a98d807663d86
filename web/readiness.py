"""What the supervisor says of the server: every health path here repeats its GET /ready."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from web.torchserve_client import Unreachable, Upstream

LOOK_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    Whether requests may come.

    Attributes:
        ready: Whether they may.
        reason: In a word or a sentence.
        version: That is served; None if that is not known.
    """

    ready: bool
    reason: str
    version: str | None


class Readiness:
    """
    The supervisor's answer, asked for each time: it has it in memory.

    Args:
        url: Of its GET /ready.
    """

    def __init__(self, url: str) -> None:
        self._upstream = Upstream(url)
        self._path = urlsplit(url).path or "/ready"

    async def verdict(self, model_name: str | None = None) -> Verdict:
        """Return it for one model, or for all with the version of the first; never raises."""
        path = f"{self._path}/{model_name}" if model_name else self._path
        try:
            answer = await self._upstream.get(path, LOOK_S)
            told: Any = json.loads(answer.body)
            version = told.get("version")
            return Verdict(
                ready=answer.status == 200 and told.get("ready") is True,
                reason=str(told.get("reason") or f"status {answer.status}"),
                version=None if version is None else str(version),
            )
        except (Unreachable, ValueError, AttributeError) as error:
            return Verdict(ready=False, reason=f"supervisor: {error}", version=None)
