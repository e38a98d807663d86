"""
Which pictures the heads learn from and are tested on.

Rated photographs come in an order that no list decides.
"""

from __future__ import annotations

import hashlib
import io
from functools import partial
from pathlib import Path

from PIL import Image

from training.data.photographs import read_pictures
from training.data.ratings import Split
from training.heads.options import WELL_RATED
from training.heads.samples import Source, opened


def well_rated(split: Split, limit: int, floor: float = WELL_RATED) -> list[Source]:
    """
    Return photographs that people rate well: what is wrong with their copies we did ourselves.

    Args:
        split: With ratings in [0, 1].
        limit: At most so many, by a hash of the name: fewer are the first of more.
        floor: Lowest rating.

    Raises:
        ValueError: There are fewer than 20.
    """
    chosen = [index for index in range(len(split)) if split.target[index] >= floor]
    if len(chosen) < 20:
        raise ValueError(
            f"pictures: expected at least 20 rated {floor:g} or better of 1, got {len(chosen)}. "
            "Give more rated photographs."
        )
    return _sources(split, chosen, limit)


def any_rated(split: Split, limit: int) -> list[Source]:
    """Return photographs of any rating: what a server is sent."""
    return _sources(split, list(range(len(split))), limit)


def pictures_of(folder: Path | None) -> list[Source]:
    """Return the photographs of a folder, or those that packages ship."""

    def in_colour(body: bytes) -> Image.Image:
        return Image.open(io.BytesIO(body)).convert("RGB")

    bodies = read_pictures(folder, "--test-pictures")
    return [Source(name, partial(bytes, body), in_colour) for name, body in bodies.items()]


def _sources(split: Split, chosen: list[int], limit: int) -> list[Source]:
    def key(index: int) -> str:
        return hashlib.sha256(split.names[index].encode()).hexdigest()

    ordered = sorted(chosen, key=key)[:limit]
    return [Source(split.names[i], split.paths[i].read_bytes, opened) for i in ordered]
