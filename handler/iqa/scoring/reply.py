"""The reply to a picture, whose JSON every client gets: its fields, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from iqa.imaging.decoding import DecodedImage
from iqa.imaging.preprocessing import Policy, is_upscaled
from iqa.tasks.task import Reply


def compose(
    decoded: DecodedImage,
    policy: Policy,
    answer: Reply,
    warnings: Iterable[str],
    model: Mapping[str, str] | None,
) -> Reply:
    """
    Return the whole reply.

    Args:
        decoded: The picture, with what its file warns of.
        policy: How it became the network's input.
        answer: What the task read from the outputs (`iqa.tasks`), the decision, and what the heads
            add.
        warnings: What the heads warn of.
        model: Name and version of who answers; None leaves them out.
    """
    width, height = decoded.size
    upscaled = ["upscaled"] if is_upscaled(width, height, policy) else []
    return {
        **answer,
        **({} if model is None else {"model": dict(model)}),
        "image": {"width": width, "height": height, "format": decoded.format},
        "warnings": [*decoded.warnings, *upscaled, *warnings],
    }
