"""
What an alias meant when it was last asked: a line beside the archives, for starts without MLflow.

It lies in the model store, which processes share: in containers the side-car writes it, and the
server, which knows no registry, reads it.
"""

from __future__ import annotations

from pathlib import Path

from scripts.server.state import replace_text


def write(model_name: str, alias: str, mar: Path) -> None:
    """Note that an alias of a model means an archive, in the archive's folder."""
    replace_text(mar.parent / f".served-{model_name}@{alias}", mar.name)


def read(model_name: str, alias: str, store: Path) -> Path | None:
    """Return the archive that an alias meant; None where that is not on record, or it is gone."""
    note = store / f".served-{model_name}@{alias}"
    if not note.exists() and model_name == "iqa":
        note = store / f".served-{alias}"  # as it was called when there was one model
    try:
        mar = store / note.read_text().strip()
    except FileNotFoundError:
        return None
    return mar if mar.is_file() else None
