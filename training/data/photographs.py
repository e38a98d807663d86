"""Unrated photographs to try a model on: those of a folder, or six that packages ship."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from iqa.imaging.sniff import SUFFIXES

from training.data.demo_images import PHOTOGRAPHS

# Photographs of scenes that installed packages ship: it works without a download.
SHIPPED_SCENES: Final = ("astronaut", "china", "coffee", "flower", "motorcycle", "rocket")


def read_pictures(directory: Path | None, option: str = "--pictures") -> dict[str, bytes]:
    """
    Return the files of a folder, or without one `SHIPPED_SCENES`, by name.

    Args:
        directory: The folder.
        option: Option of the command that named the folder, for the message.

    Raises:
        FileNotFoundError: The folder is missing or holds no picture.
    """
    if directory is None:
        of_scene = {scene: PHOTOGRAPHS[scene] for scene in SHIPPED_SCENES}
        return {
            scene: (files(package) / name).read_bytes()
            for scene, (package, name) in of_scene.items()
        }
    paths = sorted(p for p in directory.glob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f"{option}: expected a folder with {', '.join(SUFFIXES)}, got {directory} with none."
        )
    return {path.name: path.read_bytes() for path in paths}
