"""Names that stand for what nobody named."""

from __future__ import annotations

from typing import Final

MODEL_NAME: Final = "iqa"
"""The registered model of commands and of a server that are told of none."""
