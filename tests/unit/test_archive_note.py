"""What a server that knows no registry is told through the model store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from scripts.archive import note
from scripts.supervisor import start_archive


def archive_in(store: Path, name: str) -> Path:
    """Put something by an archive's name into a store."""
    mar = store / name
    mar.write_bytes(b"archive")
    return mar


def test_the_last_note_counts(tmp_path: Path) -> None:
    """A second note takes the place of the first, for that alias alone."""
    first, second = archive_in(tmp_path, "iqa-1.mar"), archive_in(tmp_path, "iqa-2.mar")
    note.write("staging", first)
    note.write("production", first)
    note.write("staging", second)
    assert note.read("staging", tmp_path) == second
    assert note.read("production", tmp_path) == first


def test_no_note_and_an_archive_that_is_gone_are_none(tmp_path: Path) -> None:
    """A start must not fail over a note: there are other ways to an archive."""
    assert note.read("staging", tmp_path) is None
    mar = archive_in(tmp_path, "iqa-1.mar")
    note.write("staging", mar)
    mar.unlink()
    assert note.read("staging", tmp_path) is None


def test_a_server_waits_for_the_first_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shares the store notes it a moment later."""
    monkeypatch.setattr(start_archive, "NOTE_POLL_S", 0.01)
    mar = archive_in(tmp_path, "iqa-1.mar")
    found: list[Path] = []
    choice = start_archive.Noted("staging", tmp_path)
    waiting = threading.Thread(target=lambda: found.append(choice.wait(threading.Event())))
    waiting.start()
    time.sleep(0.05)
    assert found == []
    note.write("staging", mar)
    waiting.join(10)
    assert found == [mar]


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    """TERM while there is nothing to serve."""
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(KeyboardInterrupt):
        start_archive.Noted("staging", tmp_path).wait(stopping)
