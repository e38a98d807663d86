"""A full disk, a slow one, a row of which no JSON can be made: no score is lost."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from iqa.prediction_log.writer import Report

from scripts.prediction_log import reading
from scripts.prediction_log.verify import verify
from tests.prediction_rows import process_of, row, writer_of

FULL = """
import errno, json, resource, sys
from pathlib import Path
from iqa.prediction_log.writer import LogWriter
from tests.prediction_rows import row
reports = []
writer = LogWriter(Path(sys.argv[1]), {"pid": 3}, reports.append, flush_s=60)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for number in range(3):
    writer.add(row(number))
writer.flush()
size = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
for number in range(3, 5):
    writer.add(row(number))
    writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.add(row(5))
writer.close()
print(json.dumps([[one.written, one.dropped, one.errno == errno.EFBIG] for one in reports]))
"""


def test_a_full_disk_stops_the_log_and_room_lets_it_go_on(tmp_path: Path) -> None:
    """What has no row is counted and on record; half a row is never left."""
    process = process_of(FULL, str(tmp_path))
    said, _ = process.communicate(timeout=60)
    assert json.loads(said) == [[3, 0, False], [0, 1, True], [0, 1, True], [1, 0, False]]
    found = verify(tmp_path)
    assert (found.problems, found.rows) == ([], 4)
    (note,) = found.notes
    assert "before row 3: 2 answers have no row" in note
    assert "File too large" in note
    assert len(list(reading.rows_of(tmp_path))) == 4


def test_a_folder_that_is_taken_away_stops_the_log_until_it_is_back(tmp_path: Path) -> None:
    """It is never made anew: that would fill the disk under a mount that is missing."""
    folder, reports = tmp_path / "log", list[Report]()
    folder.mkdir()
    writer = writer_of(folder, reports, flush_s=60)
    writer.add(row(0))
    writer.flush()
    folder.rename(tmp_path / "away")
    writer.add(row(1))
    writer.flush()
    assert not folder.exists()
    assert (reports[-1].dropped, os.strerror(reports[-1].errno)) == (1, "No such file or directory")
    folder.mkdir()
    writer.add(row(2))
    writer.close()
    assert (reports[-1].written, reports[-1].errno) == (1, 0)
    found = verify(folder)
    assert (found.problems, found.rows) == ([], 1)
    assert "1 answers have no row" in found.notes[0]


def test_who_adds_a_row_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs holds up the thread alone; memory is bounded."""
    monkeypatch.setattr("iqa.prediction_log.writer.MAX_WAITING", 10)
    reports: list[Report] = []
    writer = writer_of(tmp_path, reports, flush_s=60)
    with writer._flushing:  # as a write that does not return
        begin_s = time.perf_counter()
        for number in range(25):
            writer.add(row(number))
        assert time.perf_counter() - begin_s < 1.0
    writer.flush()
    assert (reports[-1].written, reports[-1].dropped) == (10, 15)
    writer.add(row(25))
    writer.close()
    (note,) = verify(tmp_path).notes
    assert "15 answers have no row" in note
    assert note.endswith("the queue was full")


def test_a_row_that_is_no_json_costs_no_score(tmp_path: Path) -> None:
    """A number that JSON has not is a fault of ours: counted, told, survived."""
    reports: list[Report] = []
    writer = writer_of(tmp_path, reports, flush_s=60)
    broken = row(0)
    broken["data"]["score"] = float("nan")
    writer.add(broken)
    writer.flush()
    assert (reports[-1].written, reports[-1].dropped) == (0, 1)
    writer.add(row(1))
    writer.close()
    assert (verify(tmp_path).problems, verify(tmp_path).rows) == ([], 1)


def test_an_answer_of_which_no_row_can_be_made_loses_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and its place is noted; the rows beside it are written."""
    reports: list[Report] = []
    rows = {number: row(number) for number in (0, 1, 3)}
    writer = writer_of(tmp_path, reports, flush_s=60, as_row=rows.__getitem__)
    for number in range(4):
        writer.add(number)
    writer.close()
    assert (reports[-1].written, reports[-1].dropped) == (3, 1)
    assert "a row was not made" in caplog.text
    told = [one["data"]["request_id"] for one in reading.rows_of(tmp_path)]
    assert told == ["request-0", "request-1", "request-3"]
    assert verify(tmp_path).problems == []


def test_what_was_lost_last_is_on_record_when_the_segment_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row comes after it, and none is needed."""
    monkeypatch.setattr("iqa.prediction_log.writer.MAX_WAITING", 2)
    writer = writer_of(tmp_path, flush_s=60)
    with writer._flushing:
        for number in range(5):
            writer.add(row(number))
    writer.close()
    found = verify(tmp_path)
    assert (found.problems, found.rows) == ([], 2)
    (note,) = found.notes
    assert "before row 2: 3 answers have no row" in note
    writer.add(row(5))
    writer.close()
    assert len(verify(tmp_path).notes) == 1  # said once
