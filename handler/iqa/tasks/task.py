"""
What is particular to one kind of model: its head, its reply, when two golden answers are equal.

A task answers six questions. Three are answered here, by what serving needs; training adds the
target, the loss, and which of two models is better (`training.tasks`).

    head          what the network ends in
    reader        what a client is told of the network's outputs
    difference    how far two answers to one image lie apart; golden answers are equal below a bound
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

CARD_FILE: Final = "model.json"
Card = Mapping[str, Any]
"""Content of the card beside a checkpoint's weights; see `iqa.network.checkpoint`."""
Outputs = NDArray[np.float32]
"""Outputs for one image: shape () if the head has one output, else (n_outputs,)."""
Reply = dict[str, Any]
"""A task's part of the JSON reply. It holds a label, see `label_of`, and `score` where there is one
of 0-100."""


class Reader(Protocol):
    """What turns the network's outputs for one image into the task's part of the reply."""

    def __call__(self, outputs: Outputs, top_k: int | None = None) -> Reply:
        """
        Return the reply.

        Args:
            outputs: Of the network.
            top_k: At most so many of the classes are wanted; None: as the task has it.
        """


@dataclass(frozen=True, kw_only=True)
class Head:
    """
    What a network ends in: one linear layer, and what makes its outputs comparable.

    Attributes:
        n_outputs: Outputs of the linear layer.
        activation: Activation of the outputs: each for itself, or together to a sum of 1.
    """

    n_outputs: int = 1
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def __str__(self) -> str:
        """Return it as a card says it."""
        return f"linear, {self.outputs}"

    @property
    def outputs(self) -> str:
        """What is said of them where the layer before is not known."""
        outputs = "" if self.n_outputs == 1 else f", {self.n_outputs} outputs"
        return f"{self.activation}{outputs}"


ONE_OUTPUT: Final = Head()


class Task(Protocol):
    """
    One kind of model.

    Attributes:
        name: The task's name, as in the card.
    """

    name: str

    def head(self, card: Card) -> Head:
        """Return what the network of this card ends in."""

    def labels(self, card: Card) -> Sequence[str]:
        """Return all labels that a reply may hold, for counting; of classes in their order."""

    def reader(self, card: Card) -> Reader:
        """
        Return what turns the network's outputs for one image into the task's part of the reply.

        The card is read and checked here, once; the reader is called for each request.

        Raises:
            CheckpointMismatch: The card was written by other code, or by hand.
        """

    def difference(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> float:
        """
        Return how far two replies to one image lie apart, in hundredths of the scale.

        Args:
            expected: A reply on record.
            got: A reply.

        Returns:
            At least 0; infinity or NaN where they cannot be compared.
        """


def label_of(reply: Mapping[str, Any]) -> str | None:
    """Return what a reply calls the image; None where it is no task's reply."""
    label = reply.get("label", reply.get("predicted_label"))
    return None if label is None else str(label)


def in_words(reply: Mapping[str, Any]) -> str:
    """Return a reply in two words, for a message: its score, or else its label."""
    if "score" in reply:
        return f"the score {reply['score']:.4f}"
    confidence = f" at {reply['confidence']:.4f}" if "confidence" in reply else ""
    return f"the label {label_of(reply)!r}{confidence}"
