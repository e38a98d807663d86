"""The prediction log: what is written, what is found out, what is erased, what a full disk does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from iqa.predictions.chain import line_of, tombstone
from iqa.predictions.manifest import NAME, Manifest, locked
from iqa.predictions.segment import SUFFIX, close_left_over
from iqa.predictions.writer import LogWriter, Report

from console.paths import ROOT
from scripts import predictions
from scripts.prediction_log import counting, keeping, parquet, reading
from scripts.prediction_log.verify import Findings, verify

PICTURE = "ab" * 32
OTHER = "cd" * 32
FACTS = {"model": "iqa", "version": "1", "pid": 1}


def row(number: int, picture: str = OTHER, reason: str | None = None) -> dict[str, Any]:
    """Return a row as the handler makes it: scored, or refused for a reason."""
    data: dict[str, Any] = {
        "model": "iqa", "version": "1", "archive_sha256": "e" * 64, "bytes": 63_000 + number,
        "request_id": f"request-{number}", "decode_s": 0.003917, "whole_s": 0.02,
    }  # fmt: skip
    if reason is None:
        data |= {
            "status": 200, "width": 512, "height": 384, "format": "JPEG", "score": 40.0 + number,
            "label": "good", "interval": [54.1, 69.0], "warnings": [], "network_s": 0.0121,
        }  # fmt: skip
    else:
        data |= {"status": 400, "reason": reason}
    return {
        "specversion": "1.0",
        "type": f"iqa.prediction.{'scored' if reason is None else 'rejected'}",
        "source": "/models/iqa/versions/1",
        "time": f"2026-11-29T04:31:{number:02d}.123Z",
        "datacontenttype": "application/json",
        "subject": f"sha256:{picture}",
        "data": data,
    }


def writer_of(folder: Path, reports: list[Report] | None = None, **limits: Any) -> LogWriter:
    """Return a writer that keeps what it reports."""
    told = [] if reports is None else reports
    return LogWriter(folder, FACTS, told.append, **{"flush_s": 0.01, **limits})


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writers of these tests are flushed before a picture is erased."""
    monkeypatch.setattr(keeping, "WRITTEN_BY_NOW_S", 0.0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two complete segments: rows 0 to 5, the third refused, and rows 6 to 8."""
    writer = writer_of(tmp_path)
    for number in range(6):
        picture = PICTURE if number in (1, 4) else OTHER
        writer.add(row(number, picture, "undecodable" if number == 2 else None))
    writer.close()
    for number in range(6, 9):
        writer.add(row(number, PICTURE if number == 7 else OTHER))
    writer.close()
    return tmp_path


def segment_files(folder: Path) -> list[Path]:
    """Return the segments' files."""
    return list(reading.segments(folder).values())


def test_a_row_is_a_cloud_event_of_its_own_id(log: Path) -> None:
    """What CloudEvents 1.0 requires is there and its names hold no other letters than it takes."""
    rows = list(reading.rows_of(log))
    assert len({one["id"] for one in rows}) == 9
    for one in rows:
        assert {"id", "source", "specversion", "type"} <= one.keys()
        assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in one)
    assert [one["data"]["request_id"] for one in rows] == [f"request-{n}" for n in range(9)]


def test_an_untouched_log_holds_and_says_its_heads(log: Path) -> None:
    """Nothing is found, and each segment's end is told."""
    found = verify(log)
    assert (found.problems, found.notes, found.rows, found.erased) == ([], [], 9, 0)
    assert [rows for rows, _ in found.heads.values()] == [6, 3]


def test_complete_segments_become_parquet_with_the_same_rows(log: Path) -> None:
    """To the last bit: the chain over them holds, and a tool reads typed columns."""
    before = list(reading.rows_of(log))
    assert keeping.compact(log) == (2, [])
    assert {path.suffix for path in segment_files(log)} == {".parquet"}
    assert list(reading.rows_of(log)) == before
    assert verify(log).problems == []
    table = pq.read_table(segment_files(log)[0])
    assert table["score"].to_pylist() == [40.0, 41.0, None, 43.0, 44.0, 45.0]
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"
    assert oct(segment_files(log)[0].stat().st_mode & 0o777) == "0o600"


def test_a_field_that_parquet_has_no_column_for_stays_in_json(log: Path) -> None:
    """A later version's rows are neither cut nor lost."""
    path = log / "later"
    path.mkdir()
    writer = writer_of(path)
    later = row(0)
    later["data"]["mood"] = "sunny"
    writer.add(later)
    writer.close()
    done, (refused,) = keeping.compact(path)
    assert done == 0
    assert "mood" in refused
    assert next(reading.rows_of(path))["data"]["mood"] == "sunny"
    assert verify(path).problems == []


Rows = list[dict[str, Any]]


def edited(rows: Rows) -> None:
    """Give a row another score."""
    rows[3]["data"]["score"] = 99.0


def relabelled(rows: Rows) -> None:
    """Change what an erasure would leave."""
    rows[3]["data"]["status"] = 200 + 1


def retimed(rows: Rows) -> None:
    """Change a field of the envelope."""
    rows[3]["time"] = "2026-11-28T04:31:03.123Z"


def rehashed(rows: Rows) -> None:
    """Edit a row and make its digest anew."""
    from iqa.predictions.chain import row_hash

    edited(rows)
    rows[3]["hash"] = row_hash(rows[3])


def rehashed_last(rows: Rows) -> None:
    """Do that to the last row, which no other row holds the digest of."""
    from iqa.predictions.chain import row_hash

    rows[5]["data"]["score"] = 99.0
    rows[5]["hash"] = row_hash(rows[5])


def dropped(rows: Rows) -> None:
    """Take two rows away."""
    del rows[2:4]


def dropped_first(rows: Rows) -> None:
    """Take the first away."""
    del rows[0]


def dropped_last(rows: Rows) -> None:
    """Take the last two away."""
    del rows[4:]


def dropped_all(rows: Rows) -> None:
    """Leave an empty file."""
    rows.clear()


def doubled(rows: Rows) -> None:
    """Put a row there twice."""
    rows.insert(4, rows[3])


def doubled_at_the_end(rows: Rows) -> None:
    """Put the last row there twice."""
    rows.append(rows[5])


def swapped(rows: Rows) -> None:
    """Change the order."""
    rows[2], rows[3] = rows[3], rows[2]


def erased_unseen(rows: Rows) -> None:
    """Make a tombstone by hand."""
    from iqa.predictions.chain import tombstone

    rows[3] = tombstone(rows[3], "2026-11-29T05:00:00.000Z")


def added(rows: Rows) -> None:
    """Append a row that fits."""
    from iqa.predictions.chain import chained

    segment = rows[0]["id"].rpartition("/")[0]
    rows.append(chained(row(9), f"{segment}/6", rows[5]["hash"], "0" * 32))


TAMPERINGS = [
    (edited, "row 3: edited"), (relabelled, "row 3: edited"), (retimed, "row 3: edited"),
    (rehashed, "row 4: it, or the row before it, was edited"),
    (rehashed_last, "row 5: edited, the last one"), (dropped, "rows 2 to 3: dropped"),
    (dropped_first, "row 0: dropped"), (dropped_last, "rows 4 to 5: dropped from its end"),
    (dropped_all, "rows 0 to 5: dropped from its end"),
    (doubled, "line 5: row 3 is doubled, or moved there"),
    (doubled_at_the_end, "line 7: row 5 is doubled, or moved there"),
    (swapped, "line 4: row 2 is doubled, or moved there"),
    (erased_unseen, "row 3: erased, and no erasure is on record"),
    (added, "row 6: added after it was closed"),
]  # fmt: skip


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("tamper", "named"), TAMPERINGS)
def test_what_was_done_to_a_row_is_found_and_named(
    log: Path, form: str, tamper: Callable[[Rows], None], named: str
) -> None:
    """In JSON Lines and in Parquet; the other segment is not suspected."""
    if form == "parquet":
        keeping.compact(log)
    path = segment_files(log)[0]
    rows = [line.row for line in reading.lines_of(path) if line.row]
    tamper(rows)
    if form == "parquet":
        parquet.write(path, rows)
    else:
        path.write_bytes(b"".join(map(line_of, rows)))
    found = verify(log)
    assert f"segment {path.stem}, {named}" in found.problems
    assert all(path.stem in problem for problem in found.problems)
    assert len(found.problems) <= 2


def test_a_line_that_is_no_json_is_named(log: Path) -> None:
    """It is skipped by readers, and it is no torn line: it has its line break."""
    path = segment_files(log)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"id": \n'
    path.write_bytes(b"".join(lines))
    assert len(list(reading.rows_of(log))) == 8
    assert f"segment {path.stem}, line 4: edited: it is no row" in verify(log).problems


def test_a_segment_that_is_gone_or_new_is_named(log: Path) -> None:
    """A whole file was taken away, or laid beside the others."""
    first, second = segment_files(log)
    second.rename(log / f"invented{SUFFIX}")
    assert verify(log).problems == [
        f"segment {second.stem}: dropped as a whole (3 rows)",
        "segment invented: it is not in the manifest",
    ]
    first.unlink()
    assert f"segment {first.stem}: dropped as a whole (6 rows)" in verify(log).problems


@pytest.mark.parametrize("lines", [slice(0, 1), slice(1, 2), slice(0, 4)])
def test_a_manifest_that_was_cut_is_found(log: Path, lines: slice) -> None:
    """It is chained as well."""
    path = log / NAME
    kept = path.read_bytes().splitlines(keepends=True)
    del kept[lines]
    path.write_bytes(b"".join(kept))
    assert any("manifest" in problem for problem in verify(log).problems)


def test_a_log_that_was_shortened_is_found_by_what_was_told_earlier(log: Path) -> None:
    """Without a copy kept elsewhere the end of everything could be cut off unseen."""
    earlier = verify(log)
    kept = (log / NAME).read_bytes().splitlines(keepends=True)
    (log / NAME).write_bytes(b"".join(kept[:2]))
    _, last = segment_files(log)
    last.unlink()
    assert verify(log).problems == []
    assert verify(log, earlier).problems == [
        "manifest: 2 lines dropped since earlier",
        f"segment {last.stem}: it was there earlier, and is not in the manifest",
    ]


def test_a_log_that_grew_is_what_it_was_earlier(log: Path) -> None:
    """What came since is no change."""
    earlier = verify(log)
    writer = writer_of(log)
    writer.add(row(9))
    writer.flush()
    keeping.compact(log)
    found = verify(log, earlier)
    assert (found.problems, found.rows) == ([], 10)
    writer.close()


@pytest.mark.parametrize("form", ["jsonl", "parquet", "open"])
def test_an_erased_picture_leaves_tombstones_and_the_chain_holds(tmp_path: Path, form: str) -> None:
    """Nothing that tells of the picture is left in any file; its answers are counted still."""
    writer = writer_of(tmp_path)
    for number in range(6):
        writer.add(row(number, PICTURE if number in (1, 4) else OTHER))
    writer.flush()
    if form != "open":
        writer.close()
    if form == "parquet":
        keeping.compact(tmp_path)
    assert keeping.erase(tmp_path, f"SHA256:{PICTURE.upper()}") == 2
    if form == "open":  # its writer goes on behind the tombstone
        writer.add(row(6))
        writer.close()
    for path in tmp_path.iterdir():
        assert b"abab" not in path.read_bytes()
        assert b"63001" not in path.read_bytes()
    rows = list(reading.rows_of(tmp_path))
    assert [("erased" in one) for one in rows[:6]] == [n in (1, 4) for n in range(6)]
    stone = rows[1]
    assert stone["data"].keys() == {"model", "version", "archive_sha256", "status"}
    assert not {"subject", "salt", "traceparent"} & stone.keys()
    found = verify(tmp_path)
    assert (found.problems, found.erased) == ([], 2)
    assert keeping.erase(tmp_path, PICTURE) == 0
    (summary,) = counting.summaries(counting.answers(tmp_path), "hour")
    assert (summary["scored"], summary["erased"]) == (len(rows), 2)
    keeping.compact(tmp_path)
    assert (verify(tmp_path).problems, verify(tmp_path).erased) == ([], 2)


def test_an_edited_tombstone_is_found(log: Path) -> None:
    """Its contenthash is what the chain is made of."""
    keeping.erase(log, PICTURE)
    path = segment_files(log)[0]
    text = path.read_text()
    stone = json.loads(text.splitlines()[1])
    path.write_text(text.replace(stone["contenthash"], "f" * 64))
    assert f"segment {path.stem}, row 1: edited" in verify(log).problems


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"subject": f"sha256:{OTHER}"}, "row 1: edited"),
        ({"data": {"score": 99.0}}, "row 1: edited"),
        ({"erased": "2026-01-01T00:00:00.000Z"}, "row 1: erased, and no erasure is on record"),
    ],
)
def test_what_was_put_into_a_tombstone_is_found(
    log: Path, form: str, forged: dict[str, Any], named: str
) -> None:
    """Its digest covers neither what was erased nor when."""
    if form == "parquet":
        keeping.compact(log)
    keeping.erase(log, PICTURE)
    path = segment_files(log)[0]
    rows = [line.row for line in reading.lines_of(path) if line.row]
    rows[1] = {**rows[1], **forged, "data": rows[1]["data"] | forged.get("data", {})}
    if form == "parquet":
        parquet.write(path, rows)
    else:
        path.write_bytes(b"".join(map(line_of, rows)))
    assert verify(log).problems == [f"segment {path.stem}, {named}"]


def test_an_erasure_may_take_several_lines_of_the_manifest(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that was scored very often; none of its rows is left."""
    monkeypatch.setattr(keeping, "ROWS_A_LINE", 1)
    assert keeping.erase(log, PICTURE) == 3
    assert (log / NAME).read_text().count('"event":"erased"') == 3
    found = verify(log)
    assert (found.problems, found.notes, found.erased) == ([], [], 3)


def test_an_erasure_whose_record_tells_no_time_still_holds(log: Path) -> None:
    """As earlier versions wrote it."""
    path = segment_files(log)[0]
    rows = [line.row for line in reading.lines_of(path) if line.row]
    rows[3] = tombstone(rows[3], "2026-11-28T05:00:00.000Z")
    path.write_bytes(b"".join(map(line_of, rows)))
    with Manifest(log) as manifest:
        manifest.append("erased", path.stem, numbers=[3])
    assert (verify(log).problems, verify(log).erased) == ([], 1)


def test_a_first_row_that_is_not_yet_written_is_erased_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker has no segment yet, so nothing tells that somebody writes."""
    writer = writer_of(tmp_path, flush_s=60)
    writer.add(row(0, PICTURE))
    waits = SimpleNamespace(sleep=lambda _: writer.flush())
    monkeypatch.setattr(keeping, "time", waits)
    assert not segment_files(tmp_path)
    assert keeping.erase(tmp_path, PICTURE) == 1
    writer.close()


@pytest.mark.parametrize(
    "command",
    [["--erase-picture", PICTURE], ["--compact"], ["--remove-before", "2026-01-01"]],
)
def test_what_a_killed_compact_left_is_removed(log: Path, command: list[str]) -> None:
    """An erased picture would live on in it."""
    path = segment_files(log)[0]
    left = path.with_name(f"{path.stem}.parquet.new")
    left.write_bytes(b"PAR1")
    assert predictions.main([str(log), *command]) == 0
    assert not left.exists()


def test_parquet_is_its_owners_alone_while_it_is_written(log: Path) -> None:
    """Not only when it is done."""
    path, modes = segment_files(log)[0].with_suffix(".parquet"), []

    def rows() -> Any:
        modes.append(path.with_name(f"{path.name}.new").stat().st_mode & 0o777)
        yield from reading.rows_of(log)

    mask = os.umask(0)
    try:
        parquet.write(path, rows())
    finally:
        os.umask(mask)
    assert [oct(mode) for mode in modes] == ["0o600"]


def test_an_erasure_that_was_interrupted_is_told(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record first; the same command ends it."""
    monkeypatch.setattr(keeping, "_replace_lines", lambda *_: None)
    keeping.erase(log, PICTURE)
    monkeypatch.undo()
    found = verify(log)
    assert found.problems == []
    assert all("were to be erased and are there" in note for note in found.notes)
    assert keeping.erase(log, PICTURE) == 3
    assert (verify(log).notes, verify(log).erased) == ([], 3)


def test_old_segments_are_removed_on_record(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole ones that are closed, in either form; what is written stays."""
    keeping.compact(log)
    writer = writer_of(log)
    writer.add(row(9))
    writer.flush()
    told = run(capsys, str(log), "--remove-before", "2026-01-01")
    assert told == (0, "0 segments removed\n")
    assert run(capsys, str(log), "--remove-before", "2999-01-01") == (0, "2 segments removed\n")
    found = verify(log)
    assert (found.problems, found.rows) == ([], 1)
    assert [note.split(": ")[1] for note in found.notes] == [
        "removed by the command (6 rows)", "removed by the command (3 rows)",
    ]  # fmt: skip
    writer.close()


@pytest.mark.parametrize("time_", ["", "NaT", "soon"])
def test_what_is_no_time_removes_nothing(
    log: Path, capsys: pytest.CaptureFixture[str], time_: str
) -> None:
    """An empty variable of a cron job is not the end of the log."""
    assert predictions.main([str(log), "--remove-before", time_]) == 1
    assert "--remove-before: expected a time" in capsys.readouterr().err
    assert len(segment_files(log)) == 2


def test_what_is_no_digest_is_refused(log: Path) -> None:
    """A file's name would erase nothing, and look as if it had."""
    with pytest.raises(ValueError, match="expected a SHA-256"):
        keeping.erase(log, "photo.jpg")


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
from iqa.predictions.writer import LogWriter
from tests.unit.test_prediction_log import row
writer = LogWriter(Path(sys.argv[1]), {"pid": 2}, lambda report: None, flush_s=0.02)
for number in range(10**9):
    writer.add(row(number % 60))
    print(number, flush=True)
    time.sleep(0.0005)
"""


def _process(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'handler'}"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_writer_leaves_whole_rows_that_the_next_one_declares(tmp_path: Path) -> None:
    """Until then they hold too, but rows cut off their end would not show, which is said."""
    process = _process(WRITER, str(tmp_path))
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
    assert keeping.compact(tmp_path) == (1, [])
    assert (verify(tmp_path).problems, verify(tmp_path).notes) == ([], [])


def test_a_segment_that_can_never_be_closed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last line is no row; one that is written now is nobody's concern."""
    writer = writer_of(tmp_path)
    writer.add(row(0))
    writer.flush()
    (path,) = segment_files(tmp_path)
    assert keeping.compact(tmp_path) == (0, [])
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
    keeping.erase(log, PICTURE)
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


FULL = """
import errno, json, resource, sys
from pathlib import Path
from iqa.predictions.writer import LogWriter
from tests.unit.test_prediction_log import row
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
    process = _process(FULL, str(tmp_path))
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
    monkeypatch.setattr("iqa.predictions.writer.MAX_WAITING", 10)
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


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it printed."""
    status = predictions.main(list(arguments))
    return status, capsys.readouterr().out


def test_the_command_counts_by_hour_and_version(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures as a table, as JSON, as CSV; half of them from Parquet."""
    keeping.compact(log)
    writer = writer_of(log)
    writer.add(row(9))
    writer.flush()
    status, text = run(capsys, str(log), "--json")
    (one,) = json.loads(text)
    assert status == 0
    assert (one["begin"], one["model"], one["version"]) == ("2026-11-29T04:00Z", "iqa", "1")
    assert (one["answers"], one["scored"], one["rejected"]) == (10, 9, 1)
    assert (one["reasons"], one["labels"]) == ({"undecodable": 1}, {"good": 9})
    scores = [40.0 + number for number in range(10) if number != 2]
    assert one["mean"] == pytest.approx(sum(scores) / 9, abs=0.01)
    table = run(capsys, str(log))[1].splitlines()
    assert table[1].split()[:4] == ["2026-11-29T04:00Z", "iqa", "1", "10"]
    assert table[1].endswith("undecodable 1")
    assert run(capsys, str(log), "--csv", "--by", "day")[1].splitlines()[1].startswith("2026-11-29")
    assert run(capsys, str(log), "--since", "2026-11-30")[1] == "no answers\n"
    early = run(capsys, str(log), "--until", "2026-11-29T04:31:03+00:00", "--json")[1]
    assert json.loads(early)[0]["answers"] == 3
    writer.close()


def test_the_command_shows_one_request(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the client's id or the row's; an unknown one is exit status 1."""
    status, text = run(capsys, str(log), "--id", "request-7")
    assert (status, json.loads(text)["data"]["score"]) == (0, 47.0)
    assert run(capsys, str(log), "--id", json.loads(text)["id"]) == (0, text)
    assert "request-7" in run(capsys, str(log), "--id", "request-7", "--csv")[1]
    assert run(capsys, str(log), "--id", "request-99")[0] == 1


def test_the_command_verifies_erases_and_compacts(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 where something was changed; nothing that was changed becomes Parquet."""
    assert run(capsys, str(log), "--erase-picture", PICTURE) == (0, "3 rows erased\n")
    status, text = run(capsys, str(log), "--verify", "--json")
    assert (status, Findings(**json.loads(text)).erased) == (0, 3)
    (log / "heads.json").write_text(text)
    assert run(capsys, str(log), "--verify", "--against", str(log / "heads.json"))[0] == 0
    path = segment_files(log)[0]
    path.write_bytes(path.read_bytes().replace(b'"score":40.0', b'"score":90.0'))
    status, text = run(capsys, str(log), "--verify")
    assert status == 1
    assert f"CHANGED  segment {path.stem}, row 0: edited" in text
    status, text = run(capsys, str(log), "--compact")
    assert (status, text.splitlines()[0]) == (1, "1 segments are Parquet now")
    assert f"segment {path.stem}: stays as it is" in text


@pytest.mark.parametrize(
    "command",
    [
        [], ["--id", "request-7"], ["--verify"], ["--compact"], ["--erase-picture", PICTURE],
        ["--remove-before", "2026-01-01"],
    ],
)  # fmt: skip
def test_a_command_waits_for_another_one(log: Path, command: list[str]) -> None:
    """Files come and go while one compacts or erases."""
    ended: list[int] = []
    waiting = threading.Thread(
        target=lambda: ended.append(predictions.main([str(log), *command])), daemon=True
    )
    with locked(log):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(60)
    assert ended == [0]


@pytest.mark.parametrize("option", ["--by=day", "--since=2026-11-29", "--until=2026-11-29"])
@pytest.mark.parametrize(
    "command",
    [
        ["--id", "request-7"], ["--verify"], ["--compact"], ["--erase-picture", PICTURE],
        ["--remove-before", ""],
    ],
)  # fmt: skip
def test_what_a_command_would_ignore_is_refused(
    log: Path, capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    """`--remove-before` with `--until` may be meant as a range."""
    with pytest.raises(SystemExit) as end:
        predictions.main([str(log), *command, option])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"{option.partition('=')[0]}: expected counts, got {command[0]}." in said


def test_a_folder_that_holds_no_log_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do; wrong usage is exit status 2."""
    assert predictions.main([str(tmp_path / "nothing")]) == 1
    assert "--prediction-log DIR" in capsys.readouterr().err
    (tmp_path / "photo.jpg").touch()
    assert predictions.main([str(tmp_path), "--verify"]) == 1
    with pytest.raises(SystemExit) as end:
        predictions.main([str(tmp_path), "--verify", "--csv"])
    assert end.value.code == 2


def _closed(folder: Path) -> int:
    manifest = folder / NAME
    return manifest.read_text().count('"event":"closed"') if manifest.exists() else 0


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
