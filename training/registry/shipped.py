"""Which models have a checkpoint that is shipped; does not wait for MLflow."""

from __future__ import annotations

from typing import Final

from console.default_names import MODEL_NAME

SHIPPED: Final = {
    MODEL_NAME: "pretrained",
    "iqa_fast": "pretrained_fast",
    "fashion_mnist": "pretrained_fashion_mnist",
}
"""Models whose checkpoint is shipped, and its folder in training/: an empty registry gets them at a
start."""
VARIANTS: Final = {"full": SHIPPED[MODEL_NAME], "fast": SHIPPED["iqa_fast"]}
"""Shipped checkpoints that score photographs, to choose from under any name."""
