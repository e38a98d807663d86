"""A second task, to show that one needs no change elsewhere: is an image bright or dark?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from iqa.imaging.preprocessing import FIXED_SIZE, Policy
from iqa.tasks import known
from iqa.tasks.task import Card, Head, Outputs, Reply

POLICY = Policy(fit=FIXED_SIZE, width_px=28, height_px=28, channels="L", min_side_px=8)


class Brightness:
    """Two classes, told by a softmax on 28 x 28 grey pixels."""

    name = "brightness"

    def head(self, card: Card) -> Head:
        """Return one output a class."""
        return Head(n_outputs=len(self.labels(card)), activation="softmax")

    def labels(self, card: Card) -> Sequence[str]:
        """Return the classes, in the order of the outputs."""
        return card.get("class_names", ["dark", "bright"])

    def reader(self, card: Card) -> Callable[[Outputs], Reply]:
        """Return what names the likelier class."""
        labels = self.labels(card)

        def read(outputs: Outputs) -> Reply:
            best = int(outputs.argmax())
            return {"label": labels[best], "probability": round(float(outputs[best]), 4)}

        return read

    def difference(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> float:
        """Return the difference of the probabilities in percent; another class is never equal."""
        if expected["label"] != got["label"]:
            return float("inf")
        return abs(100 * (float(expected["probability"]) - float(got["probability"])))


@contextmanager
def brightness_known() -> Iterator[Brightness]:
    """Add the task to the table of those that are known: that is all."""
    task = Brightness()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(known.TASKS, task.name, task)
        yield task
