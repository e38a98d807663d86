"""The chain of a prediction log: what was done to a row or a segment is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from iqa.prediction_log.chain import line_of
from iqa.prediction_log.manifest import NAME
from iqa.prediction_log.segment import SUFFIX

from scripts.prediction_log import maintenance, parquet, reading
from scripts.prediction_log.verify import verify
from tests.prediction_rows import row, segment_files, writer_of


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
    assert maintenance.compact(log) == (2, [])
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
    done, (refused,) = maintenance.compact(path)
    assert done == 0
    assert "mood" in refused
    assert next(reading.rows_of(path))["data"]["mood"] == "sunny"
    assert verify(path).problems == []


def test_a_number_that_parquet_would_write_otherwise_stays_in_json(tmp_path: Path) -> None:
    """A row's digest is over 83, and of the column 83.0 would come back."""
    writer = writer_of(tmp_path)
    whole = row(0)
    whole["data"]["score"] = 83
    writer.add(whole)
    writer.close()
    assert maintenance.compact(tmp_path)[0] == 0
    assert verify(tmp_path).problems == []


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
    from iqa.prediction_log.chain import row_hash

    edited(rows)
    rows[3]["hash"] = row_hash(rows[3])


def rehashed_last(rows: Rows) -> None:
    """Do that to the last row, which no other row holds the digest of."""
    from iqa.prediction_log.chain import row_hash

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
    from iqa.prediction_log.chain import tombstone

    rows[3] = tombstone(rows[3], "2026-11-29T05:00:00.000Z")


def added(rows: Rows) -> None:
    """Append a row that fits."""
    from iqa.prediction_log.chain import chained

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
        maintenance.compact(log)
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
    maintenance.compact(log)
    found = verify(log, earlier)
    assert (found.problems, found.rows) == ([], 10)
    writer.close()
