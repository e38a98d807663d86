"""What is erased from a prediction log, and what an erasure leaves to be checked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from iqa.prediction_log.chain import line_of, tombstone
from iqa.prediction_log.manifest import NAME, Manifest

from scripts import predictions
from scripts.prediction_log import counts, maintenance, parquet, reading
from scripts.prediction_log.verify import verify
from tests.prediction_rows import OTHER, PICTURE, row, run, segment_files, writer_of


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
        maintenance.compact(tmp_path)
    assert maintenance.erase(tmp_path, f"SHA256:{PICTURE.upper()}") == 2
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
    assert maintenance.erase(tmp_path, PICTURE) == 0
    (summary,) = counts.summaries(counts.answers(tmp_path), "hour")
    assert (summary["scored"], summary["erased"]) == (len(rows), 2)
    maintenance.compact(tmp_path)
    assert (verify(tmp_path).problems, verify(tmp_path).erased) == ([], 2)


def test_an_edited_tombstone_is_found(log: Path) -> None:
    """Its contenthash is what the chain is made of."""
    maintenance.erase(log, PICTURE)
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
        maintenance.compact(log)
    maintenance.erase(log, PICTURE)
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
    monkeypatch.setattr(maintenance, "ROWS_A_LINE", 1)
    assert maintenance.erase(log, PICTURE) == 3
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
    monkeypatch.setattr(maintenance, "time", waits)
    assert not segment_files(tmp_path)
    assert maintenance.erase(tmp_path, PICTURE) == 1
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
    monkeypatch.setattr(maintenance, "_replace_lines", lambda *_: None)
    maintenance.erase(log, PICTURE)
    monkeypatch.undo()
    found = verify(log)
    assert found.problems == []
    assert all("were to be erased and are there" in note for note in found.notes)
    assert maintenance.erase(log, PICTURE) == 3
    assert (verify(log).notes, verify(log).erased) == ([], 3)


def test_old_segments_are_removed_on_record(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole ones that are closed, in either form; what is written stays."""
    maintenance.compact(log)
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


@pytest.mark.parametrize("time_", ["", "NaT", "soon", "today", "now", "03-12-2026"])
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
        maintenance.erase(log, "photo.jpg")
