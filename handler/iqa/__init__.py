"""
What training and serving share: the one definition of how image bytes become a 0-100 score.

The package lies in `handler/` because that folder is the archive: the same files are imported
by `training/`, by `scripts/`, by the tests, by the worker out of the unpacked MAR, and by whoever
installs the wheel:

    import iqa

    model = iqa.load()
    model.score("photo.jpg")

Read it in this order: `decoding` -> `preprocessing` -> `model` (or `runtime`) -> `score`.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

_PLACES: Final = {
    "load": "iqa.local.model",
    "Model": "iqa.local.model",
    "Score": "iqa.local.model",
    "ImageRejected": "iqa.errors",
}
__all__ = ["ImageRejected", "Model", "Score", "load"]


def __getattr__(name: str) -> Any:
    """Import what the three lines need when they ask for it: a worker never does."""
    if name not in _PLACES:
        raise AttributeError(f"module 'iqa' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
