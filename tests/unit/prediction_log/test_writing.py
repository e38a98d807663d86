"""How a prediction log is written: segments, several writers, kills, a torn manifest."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from iqa.prediction_log.chain import line_of
from iqa.prediction_log.manifest import NAME, Manifest
from iqa.prediction_log.segment import close_left_over

from scripts.prediction_log import maintenance, reading
from scripts.prediction_log.verify import verify
from tests.prediction_rows import PICTURE, process_of, row, run, segment_files, writer_of


def test_segments_are_closed_by_size_and_by_age(tmp_path: Path) -> None:
    """Also by a writer that nobody gives rows any more."""
    writer = writer_of(tmp_path, max_bytes=1)
    writer.add(row(0))
    _wait(lambda: _closed(tmp_path) == 1)
    writer.add(row(1))
    _wait(lambda: _closed(tmp_path) == 2)
    aging = writer_of(tmp_path, max_age_s=0.2)
    aging.add(row(2))
    _wait(lambda: _closed(tmp_path) == 3)
    assert (verify(tmp_path).problems, verify(tmp_path).rows) == ([], 3)


def test_several_writers_share_a_folder(tmp_path: Path) -> None:
    """Each has segments of its own, and one manifest holds all of them."""
    writers = [writer_of(tmp_path, max_bytes=2000) for _ in range(4)]
    for number in range(40):
        random.Random(number).choice(writers).add(row(number))
        time.sleep(0.002)
    for writer in writers:
        writer.close()
    found = verify(tmp_path)
    assert (found.problems, found.rows) == ([], 40)
    assert len(found.heads) > 4


WRITER = """
import sys, time
from pathlib import Path
from iqa.prediction_log.writer import LogWriter
from tests.prediction_rows import row
writer = LogWriter(Path(sys.argv[1]), {"pid": 2}, lambda report: None, flush_s=0.02)
for number in range(10**9):
    writer.add(row(number % 60))
    print(number, flush=True)
    time.sleep(0.0005)
"""


def test_a_killed_writer_leaves_whole_rows_that_the_next_one_declares(tmp_path: Path) -> None:
    """Until then they hold too, but rows cut off their end would not show, which is said."""
    process = process_of(WRITER, str(tmp_path))
    assert process.stdout is not None
    while int(process.stdout.readline()) < 300:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = len(list(reading.rows_of(tmp_path)))
    assert rows > 100
    (note,) = [one for one in verify(tmp_path).notes if "torn" not in one]
    assert "its writer ended without closing it" in note
    assert close_left_over(tmp_path) == 1
    found = verify(tmp_path)
    assert (found.problems, found.rows) == ([], rows)
    assert not [one for one in found.notes if "torn" not in one]


def test_a_torn_line_is_reported_as_torn_and_no_reader_stumbles(tmp_path: Path) -> None:
    """A kill in the middle of a write; also after it is closed, and in Parquet it is gone."""
    writer = writer_of(tmp_path)
    writer.add(row(0))
    writer.flush()
    (path,) = segment_files(tmp_path)
    writer._segment.abandon()  # as a kill does
    with path.open("ab") as file:
        file.write(line_of(row(1))[:-20])
    assert len(list(reading.rows_of(tmp_path))) == 1
    for _ in range(2):
        found = verify(tmp_path)
        assert found.problems == []
        assert any(f"segment {path.stem}, line 2: torn" in note for note in found.notes)
        close_left_over(tmp_path)
    assert maintenance.compact(tmp_path) == (1, [])
    assert (verify(tmp_path).problems, verify(tmp_path).notes) == ([], [])


def test_a_segment_that_can_never_be_closed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last line is no row; one that is written now is nobody's concern."""
    writer = writer_of(tmp_path)
    writer.add(row(0))
    writer.flush()
    (path,) = segment_files(tmp_path)
    assert maintenance.compact(tmp_path) == (0, [])
    writer._segment.abandon()  # as a kill does
    with path.open("ab") as file:
        file.write(b"spoilt\n")
    status, text = run(capsys, str(tmp_path), "--compact")
    assert status == 1
    assert f"segment {path.stem}: stays as it is: its last whole line" in text


def test_a_worker_that_starts_keeps_no_record_of_what_is_closed(log: Path) -> None:
    """A manifest has years of them."""
    writer = writer_of(log)
    writer.add(row(9))
    writer.flush()
    maintenance.erase(log, PICTURE)
    with Manifest(log) as manifest:
        assert list(manifest.open_records()) == [segment_files(log)[2].stem]
    writer.close()
    with Manifest(log) as manifest:
        assert manifest.open_records() == {}


def test_the_manifest_heals_what_a_kill_tore(log: Path) -> None:
    """Half an entry is cut off by whoever appends next."""
    with (log / NAME).open("ab") as file:
        file.write(b'{"event": "opened", "segm')
    assert verify(log).notes == ["manifest: the last line is torn"]
    writer = writer_of(log)
    writer.add(row(9))
    writer.close()
    assert (verify(log).problems, verify(log).notes) == ([], [])


def _closed(folder: Path) -> int:
    manifest = folder / NAME
    return manifest.read_text().count('"event":"closed"') if manifest.exists() else 0


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
