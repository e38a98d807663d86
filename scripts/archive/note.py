"""
What an alias meant when it was last asked: a line beside the archives, for starts without MLflow.

It lies in the model store, so that whoever shares the store shares it: in containers the side-car
writes it, and the server, which knows no registry, reads it.
"""

from __future__ import annotations

import os
from pathlib import Path


def write(alias: str, mar: Path) -> None:
    """Note that an alias means an archive, in the archive's folder."""
    note = _note(alias, mar.parent)
    fresh = note.with_suffix(".new")
    fresh.write_text(mar.name)
    os.replace(fresh, note)


def read(alias: str, store: Path) -> Path | None:
    """Return the archive that an alias meant; None where that is not on record, or it is gone."""
    try:
        mar = store / _note(alias, store).read_text().strip()
    except FileNotFoundError:
        return None
    return mar if mar.is_file() else None


def _note(alias: str, store: Path) -> Path:
    return store / f".served-{alias}"
