"""Pictures of a folder, at any depth."""

from __future__ import annotations

from pathlib import Path

from iqa.local.files import images_in


def pictures_in(folder: Path) -> list[Path]:
    """
    Return the pictures of a folder, by their names.

    Raises:
        FileNotFoundError: It is missing or holds none.
    """
    found = images_in([folder]) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(f"{folder}: expected a folder with pictures in it, found none.")
    return found
