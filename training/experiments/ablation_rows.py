"""What an ablation compares with the recipe: variants of it, and means of trained networks."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Collection
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
        name: For people.
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


@dataclass(frozen=True)
class Mean:
    """
    The mean of the weights of networks that other rows have trained.

    Attributes:
        name: For people.
        members: Names of rows.
    """

    name: str
    members: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Mean:
        """Read NAME:ROW+ROW[+ROW...]; for argparse."""
        name, _, rows = text.partition(":")
        members = tuple(row.strip() for row in rows.split("+"))
        if not name or len(members) < 2 or not all(members):
            raise argparse.ArgumentTypeError(
                f"expected NAME:ROW+ROW, e.g. 'two seeds:{RECIPE}+another seed', got {text!r}."
            )
        return cls(name, members)

    def expect_rows(self, names: Collection[str]) -> None:
        """
        Check that all members will have been trained.

        Raises:
            ValueError: One will not.
        """
        for member in self.members:
            if member not in names or member == MIRRORED:
                raise ValueError(
                    f"--means: expected rows of this ablation, got {member!r} in '{self.name}'. "
                    f"Known: {', '.join(sorted(set(names) - {MIRRORED}))}."
                )


def folder_of(name: str) -> str:
    """Return the name of a row's folder."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
