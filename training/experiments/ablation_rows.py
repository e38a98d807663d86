"""What an ablation compares with the recipe: variants of it."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from training.data.config import DataConfig
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
FIXED: Final = frozenset(
    (
        "resume",
        "restart",
        "experiment",
        "model_name",
        *(f.name for f in dataclasses.fields(DataConfig)),
    )
)
"""Settings that a variant cannot have of its own: all are trained on the same images."""


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
        known = {f.name: f for f in dataclasses.fields(TrainConfig) if f.name not in FIXED}
        changes: dict[str, Any] = {}
        try:
            for setting in settings.split(","):
                key, _, value = setting.partition("=")
                changes[key] = _read(value, known[key].default)
                if value not in known[key].metadata.get("choices", [value]) or not value:
                    raise ValueError(f"{key}={value}")
            dataclasses.replace(TrainConfig(), **changes)
        except (KeyError, ValueError) as error:
            raise argparse.ArgumentTypeError(
                f"expected NAME:SETTING=VALUE, e.g. 'MSE alone:loss=mse', got {text!r} ({error})."
            ) from error
        return cls(name, changes)

    @property
    def recorded(self) -> dict[str, str]:
        """The changes as a record keeps them."""
        return {key: str(value) for key, value in self.changes.items()}


def folder_of(name: str) -> str:
    """Return the name of a row's folder."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


def expect_own_rows(variants: Sequence[Variant], finished: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Check that each variant has a row of its own.

    Args:
        variants: What is to be tried.
        finished: The record's rows by name.

    Raises:
        ValueError: Two names share a folder, or one name stands for two changes.
    """
    changes: dict[str, Any] = {RECIPE: {}, MIRRORED: {}}
    changes |= {name: row["changes"] for name, row in finished.items()}
    name_of = {"": "no letter or digit", **{folder_of(name): name for name in changes}}
    for variant in variants:
        name = variant.name
        other = name_of.setdefault(folder_of(name), name)
        if other != name:
            raise ValueError(
                f"--changes: expected names that differ in letters or digits, got {name!r} beside "
                f"{other!r}. Name it otherwise."
            )
        known = changes.setdefault(name, variant.recorded)
        if known != variant.recorded:
            raise ValueError(
                f"--changes: expected {name!r} to be {known or 'as it is'}, got "
                f"{variant.recorded}. Name it otherwise, or name another folder: --out DIR."
            )


def _read(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return {"true": True, "false": False}[text.lower()]
    return type(default)(text)
