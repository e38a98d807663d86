"""What a server that knows no registry is told through the model store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from scripts.archive import last_known_alias
from scripts.server.models import ServedModel
from scripts.supervisor import start_archive

MODELS = (ServedModel(name="iqa", alias="staging"),)


def archive_in(store: Path, name: str) -> Path:
    """Put something by an archive's name into a store."""
    mar = store / name
    mar.write_bytes(b"archive")
    return mar


def test_the_last_note_counts(tmp_path: Path) -> None:
    """A second note takes the place of the first, for that alias alone."""
    first, second = archive_in(tmp_path, "iqa-1.mar"), archive_in(tmp_path, "iqa-2.mar")
    last_known_alias.write("iqa", "staging", first)
    last_known_alias.write("iqa", "production", first)
    last_known_alias.write("iqa", "staging", second)
    assert last_known_alias.read("iqa", "staging", tmp_path) == second
    assert last_known_alias.read("iqa", "production", tmp_path) == first


def test_models_with_one_alias_have_notes_of_their_own(tmp_path: Path) -> None:
    """`staging` of one model says nothing of `staging` of another."""
    ours, theirs = archive_in(tmp_path, "iqa-1.mar"), archive_in(tmp_path, "portraits-2.mar")
    last_known_alias.write("iqa", "staging", ours)
    last_known_alias.write("portraits", "staging", theirs)
    assert last_known_alias.read("iqa", "staging", tmp_path) == ours
    assert last_known_alias.read("portraits", "staging", tmp_path) == theirs


def test_a_note_from_before_there_were_several_models_counts(tmp_path: Path) -> None:
    """It was about the model `iqa`."""
    mar = archive_in(tmp_path, "iqa-1.mar")
    (tmp_path / ".served-staging").write_text(mar.name)
    assert last_known_alias.read("iqa", "staging", tmp_path) == mar
    assert last_known_alias.read("portraits", "staging", tmp_path) is None


def test_no_note_and_an_archive_that_is_gone_are_none(tmp_path: Path) -> None:
    """A start must not fail over a note: there are other ways to an archive."""
    assert last_known_alias.read("iqa", "staging", tmp_path) is None
    mar = archive_in(tmp_path, "iqa-1.mar")
    last_known_alias.write("iqa", "staging", mar)
    mar.unlink()
    assert last_known_alias.read("iqa", "staging", tmp_path) is None


def test_a_server_waits_for_the_first_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shares the store notes it a moment later."""
    monkeypatch.setattr(start_archive, "NOTE_POLL_S", 0.01)
    mar = archive_in(tmp_path, "iqa-1.mar")
    found: list[start_archive.Chosen] = []
    choice = start_archive.Noted(MODELS, tmp_path)
    waiting = threading.Thread(target=lambda: found.append(choice.wait(threading.Event())))
    waiting.start()
    time.sleep(0.05)
    assert found == []
    last_known_alias.write("iqa", "staging", mar)
    waiting.join(10)
    assert [one.mars for one in found] == [{"iqa": mar}]


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    """TERM while there is nothing to serve."""
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(KeyboardInterrupt):
        start_archive.Noted(MODELS, tmp_path).wait(stopping)
