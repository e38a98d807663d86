"""The task `quality`: one output in [0, 1], which is a score of 0 to 100 with a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iqa.tasks.score_scales import LABEL_FLOORS, ScoreScale
from iqa.tasks.task import Card, Head, Outputs, Reader, Reply


class Quality:
    """How good a photograph looks to people; see `iqa.tasks.score_scales` for the scales."""

    name = "quality"

    def head(self, card: Card) -> Head:
        """Return one output with a sigmoid."""
        return Head()

    def labels(self, card: Card) -> Sequence[str]:
        """Return the labels of the score, the best first."""
        return [label for _, label in LABEL_FLOORS]

    def reader(self, card: Card) -> Reader:
        """Return what turns a quality into score, label, interval; see `ScoreScale.reply`."""
        scale = ScoreScale.of_card(card)

        def read(outputs: Outputs, top_k: int | None = None) -> Reply:
            return scale.reply(float(outputs))

        return read

    def difference(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> float:
        """Return how many points two scores differ by."""
        return abs(float(got["score"]) - float(expected["score"]))
