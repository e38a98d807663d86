"""What each label of a reply is counted as in the metrics: few series, in plain characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_LABELS: Final = 100
"""Each label is a time series a version: of more than these, the rest is counted together."""
MAX_CHARACTERS: Final = 64
OTHER_LABELS: Final = "other labels"
# What TorchServe's metric log and its parser have a meaning for, and control characters.
UNSAFE: Final = re.compile(r"[^\w .()/&+'-]")


def counted_labels(labels: Sequence[str]) -> dict[str, str]:
    """
    Return what each label is counted as: itself, in characters that a metric may hold.

    Args:
        labels: All that a reply may hold, as of `Task.labels`.
    """
    kept = list(labels) if len(labels) <= MAX_LABELS else list(labels)[: MAX_LABELS - 1]
    safe = {label: UNSAFE.sub("_", label)[:MAX_CHARACTERS] for label in kept}
    return safe | dict.fromkeys(labels[len(kept) :], OTHER_LABELS)
