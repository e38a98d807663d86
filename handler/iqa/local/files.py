"""Files of pictures: which there are, and what is said of one that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iqa.imaging.sniff import SUFFIXES


def images_in(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those in folders that are named like pictures."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                one
                for one in path.rglob("*")
                if one.suffix.lower() in SUFFIXES and not one.is_dir()
            )
        else:
            found.append(path)
    return found


def unreadable(error: OSError) -> dict[str, Any]:
    """Return what stands in place of a reply for a file that cannot be read."""
    words = f"file: expected a picture, got: {error.strerror or error}"
    return {"type": type(error).__name__, "reason": "unreadable", "message": words}
