"""What to do with a picture of a score: accept it, reject it, or have a person look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DecisionThresholds:
    """
    The operator's, from the server's settings; `python -m training.threshold` chooses them.

    Attributes:
        accept_at: Lowest score that is accepted, points.
        reject_below: Scores under it are rejected; what lies between is for a person.
    """

    accept_at: float
    reject_below: float

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> DecisionThresholds | None:
        """
        Read `accept_at` and `reject_below`, which is `accept_at` where it is not named.

        Returns:
            None where neither is named.

        Raises:
            ValueError: One is no number of 0 to 100, or the two are the wrong way round.
        """
        accept_at = settings.get("accept_at")
        reject_below = settings.get("reject_below", accept_at)
        if accept_at is None and reject_below is None:
            return None
        numbers = [
            value
            for value in (accept_at, reject_below)
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(numbers) < 2 or not 0 <= numbers[1] <= numbers[0] <= 100:
            raise ValueError(
                "model-config.yaml, handler: expected 0 <= reject_below <= accept_at <= 100, got "
                f"accept_at {accept_at!r} and reject_below {reject_below!r}. "
                "Choose them: python -m training.threshold."
            )
        return cls(accept_at=float(numbers[0]), reject_below=float(numbers[1]))

    def reply(self, answer: Mapping[str, Any]) -> dict[str, str]:
        """Return `decision`: accept, review or reject; nothing where there is no score."""
        score = answer.get("score")
        if score is None:
            return {}
        if score >= self.accept_at:
            return {"decision": "accept"}
        return {"decision": "reject" if score < self.reject_below else "review"}
