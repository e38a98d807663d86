"""Where a run keeps what it needs, and that no other run is at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.batch import output
from scripts.server.file_lock import locked


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Where a run keeps what it needs.

    Attributes:
        output: The file of results.
    """

    output: Path

    @property
    def folder(self) -> Path:
        """The folder that is there while the run is not finished."""
        return self.output.with_name(f".{self.output.name}.run")

    @property
    def facts(self) -> Path:
        """What the run is of; there once the listing is complete."""
        return self.folder / "run.json"

    @property
    def listing(self) -> Path:
        """The names, in order."""
        return self.folder / "listing.jsonl"

    @property
    def journal(self) -> Path:
        """The rows so far."""
        return self.folder / "journal.jsonl"

    @property
    def earlier(self) -> Path:
        """The output of an earlier, finished run, whose rows stay."""
        return self.folder / f"earlier{self.output.suffix}"

    def discard(self) -> None:
        """Remove what the run kept; `facts` first, for without it nothing else is taken up."""
        self.facts.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def reserved(place: Place, resume: bool) -> Iterator[None]:
    """
    Keep other runs off this output.

    Args:
        place: Of the run.
        resume: Keep what an unfinished run left.

    Raises:
        TimeoutError: Another process is at it.
    """
    output.format_of(place.output)
    place.output.parent.mkdir(parents=True, exist_ok=True)
    lock = place.output.with_name(f".{place.output.name}.lock")
    with locked(lock, 0.0, f"another run that writes {place.output}"):
        if not resume or not place.facts.exists():  # what a removal left that was broken off
            place.discard()
        place.folder.mkdir(exist_ok=True)
        try:
            yield
        finally:
            if not place.facts.exists():  # nothing that could be taken up
                place.discard()
            lock.unlink(missing_ok=True)  # last: then another run may have the folder
