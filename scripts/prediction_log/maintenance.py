"""
What is done to a log that is there: segments become Parquet, a picture is erased, old rows go.

Who calls these holds the folder (`locked`): two of them never run at once. A server may write
meanwhile: what it appends to is never renamed, and a row of it is replaced by a tombstone of the
same length, in its place.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from iqa.prediction_log.chain import Row, line_of, number_of, tombstone
from iqa.prediction_log.manifest import NAME, ROWS_A_LINE, Manifest, entries, records_of, utc
from iqa.prediction_log.segment import SUFFIX, close_left_over, is_written, tail_of
from iqa.prediction_log.writer import FLUSH_S

from scripts.prediction_log import parquet
from scripts.prediction_log.reading import PARQUET, lines_of, segments
from scripts.prediction_log.verify import problems_of

WRITTEN_BY_NOW_S: Final = 2 * FLUSH_S + 0.2
"""After this, the row of an answer that was given before is in its file."""
IsMeant = Callable[[Row], bool]
SHA256: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def compact(folder: Path) -> tuple[int, list[str]]:
    """
    Make Parquet of all complete segments; also declare complete what killed writers left.

    Returns:
        How many became Parquet, and a sentence for each that did not and never will: it was
        tampered with.

    Raises:
        ValueError: The folder holds no log.
        OSError: It cannot be written; what is not finished stays in JSON Lines.
    """
    segments(folder)
    parquet.remove_unfinished(folder)
    close_left_over(folder)
    done, refused = 0, []
    told = records_of(entries(folder / NAME))
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        record = told.get(path.stem)
        if path.name == NAME or record is None:
            continue
        try:
            if record.rows is None:
                _expect_an_end(path, record.genesis)
                continue
            problems = problems_of(path, record)
            if problems:
                raise ValueError(problems[0])
            rows = (line.row for line in lines_of(path) if line.row)
            parquet.write(path.with_suffix(PARQUET), rows)
        except ValueError as error:
            refused.append(f"segment {path.stem}: stays as it is: {error}")
            continue
        with Manifest(folder) as manifest:
            manifest.append("compacted", path.stem, rows=record.rows)
        path.unlink()
        done += 1
    return done, refused


def _expect_an_end(path: Path, genesis: str) -> None:
    """
    Look at a segment that is not closed.

    Raises:
        ValueError: Nobody writes it, and nobody can close it.
    """
    if not is_written(path) and tail_of(path, genesis) is None:
        raise ValueError(
            "its last whole line: expected a row, got something else. It cannot be closed; "
            "--verify says what was changed."
        )


def remove_before(folder: Path, moment: datetime) -> int:
    """
    Remove the segments that were closed before a moment, and put that on record.

    Args:
        folder: Of the log; a server may write to it.
        moment: With a time zone.

    Returns:
        How many segments.

    Raises:
        ValueError: The folder holds no log.
        OSError: It cannot be written.
    """
    names = list(segments(folder))
    parquet.remove_unfinished(folder)
    close_left_over(folder)
    removed = 0
    told = records_of(entries(folder / NAME))
    for name in names:
        record = told.get(name)
        if record is None or record.closed_at is None:
            continue
        if datetime.fromisoformat(record.closed_at) >= moment:
            continue
        with Manifest(folder) as manifest:
            manifest.append("removed", name, rows=record.rows)
        for suffix in (SUFFIX, PARQUET):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
        removed += 1
    return removed


def erase(folder: Path, picture: str) -> int:
    """
    Make tombstones of all rows of a picture; return how many.

    Args:
        folder: Of the log; a server may write to it.
        picture: SHA-256 of the file's bytes, in hexadecimal, with or without `sha256:`.

    Raises:
        ValueError: That is no SHA-256, or the folder holds no log.
        OSError: It cannot be written. What was erased by then is; call it again.
    """
    told = SHA256.fullmatch(picture.lower())
    if told is None:
        raise ValueError(
            f"--erase-picture: expected a SHA-256, 64 hexadecimal digits, got {picture!r}. "
            "Of a file: sha256sum FILE"
        )
    segments(folder)
    subject, count = f"sha256:{told[1]}", 0
    parquet.remove_unfinished(folder)
    time.sleep(WRITTEN_BY_NOW_S)  # always: a worker has no segment before it writes its first row
    for suffix, replace in ((SUFFIX, _replace_lines), (PARQUET, _replace_rows)):
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.name != NAME:
                count += _erase_in(path, subject, replace)
    return count


def _erase_in(path: Path, subject: str, replace: Callable[[Path, IsMeant, str], None]) -> int:
    """Erase in one file. Put on record first: a tombstone without a record looks like tampering."""
    numbers = {
        number_of(line.row, path.stem)
        for line in lines_of(path)
        if line.row is not None and line.row.get("subject") == subject
    }
    told = sorted(number for number in numbers if number is not None)
    if not told:
        return 0
    erased_at = utc()
    with Manifest(path.parent) as manifest:
        for first in range(0, len(told), ROWS_A_LINE):
            part = told[first : first + ROWS_A_LINE]
            manifest.append("erased", path.stem, at=erased_at, numbers=part)

    def is_meant(row: Row) -> bool:
        # Not one that came since: it is not on record.
        return row.get("subject") == subject and number_of(row, path.stem) in numbers

    replace(path, is_meant, erased_at)
    return len(told)


def _replace_lines(path: Path, is_meant: IsMeant, erased_at: str) -> None:
    """Write over lines in their place, so that their bytes are gone and the writer goes on."""
    fd = os.open(path, os.O_WRONLY)
    try:
        for line in lines_of(path):
            if line.row is None or not is_meant(line.row):
                continue
            text = line_of(tombstone(line.row, erased_at))[:-1]
            assert len(text) < line.size  # digest and salt are longer than what comes for them
            os.pwrite(fd, text.ljust(line.size - 1) + b"\n", line.start)
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace_rows(path: Path, is_meant: IsMeant, erased_at: str) -> None:
    rows = (tombstone(row, erased_at) if is_meant(row) else row for row in parquet.rows_of(path))
    parquet.write(path, rows)
