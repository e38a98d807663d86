"""What an ablation compares with the recipe: variants of it."""

from __future__ import annotations

import argparse
import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Final

from training.loop.config import TrainConfig

RECIPE: Final = "the recipe"
MIRRORED: Final = "the recipe, mean with the mirror image (two passes)"
CHANGES: Final = (
    "another seed:seed=1",
    "MSE alone:loss=mse",
    "Huber for MSE:loss=huber+nin",
    "rank term for Norm-in-Norm:loss=mse+rank",
    "rank term as well:loss=mse+nin+rank",
    "crops of 256:crop_px=256",
    "whole pictures:crop_px=448",
    "rates times 3:lr=9e-4",
    "rates over 3:lr=1e-4",
    "head no faster than the backbone:head_lr_factor=1",
    "rate down in a line:schedule=linear",
    "rate constant after the warm-up:schedule=constant",
    "moving average, 0.99 a step:ema_decay=0.99",
    "batches of 8:batch_size=8",
    "batches of 32:batch_size=32",
    "no dropout:dropout=0",
    "standard deviation as well:pooling=average+std",
    "maximum as well:pooling=average+max",
)
"""What is tried by default, each from the recipe."""


@dataclass(frozen=True)
class Variant:
    """
    The recipe with something changed.

    Attributes:
        name: What a reader sees.
        changes: Settings of `TrainConfig` that differ.
    """

    name: str
    changes: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read NAME:SETTING=VALUE[,SETTING=VALUE...]; for argparse."""
        name, _, settings = text.partition(":")
        known = {item.name: item for item in dataclasses.fields(TrainConfig)}
        changes: dict[str, Any] = {}
        try:
            for setting in settings.split(","):
                key, _, value = setting.partition("=")
                default: Any = known[key].default
                changes[key] = type(default)(value)
                if value not in known[key].metadata.get("choices", [value]) or not value:
                    raise ValueError(f"{key}={value}")
            dataclasses.replace(TrainConfig(), **changes)
        except (KeyError, ValueError) as error:
            raise argparse.ArgumentTypeError(
                f"expected NAME:SETTING=VALUE, e.g. 'MSE alone:loss=mse', got {text!r} ({error})."
            ) from error
        return cls(name, changes)


def folder_of(name: str) -> str:
    """Return the name of a row's folder."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
