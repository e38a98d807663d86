"""
The manifest: which segments there are, how each ended, and what was taken out of them.

One file a folder, to which every process of every server appends under a lock, a line at a time;
each line holds the digest of the one before. What a line says of a segment, by `event`:

    opened      by whom; this line's `hash` is the first row's prevhash
    closed      rows and the last row's hash; by its writer, or after the writer's death by another
    gap         so many answers have no row, and why
    compacted   its rows are in a Parquet file now
    erased      these rows are tombstones now
    removed     it was deleted, for its age
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from iqa.prediction_log.chain import NO_HASH, Row, canonical, line_of, sha256

NAME: Final = "manifest.jsonl"
TAIL_BYTES: Final = 65536
"""Longer than any line."""
ROWS_A_LINE: Final = 500
"""Of an erasure: what is more goes into further lines, or the above would not hold."""


@dataclass(kw_only=True)
class SegmentRecord:
    """
    What the manifest says of a segment.

    Attributes:
        genesis: Its first row's prevhash.
        opened: The whole entry.
        rows: How many it has; None while it is not closed.
        closed_at: When it was; None while it is not.
        last_hash: Of its last row; of a segment without rows `genesis`.
        erased: Numbers of the rows that are tombstones, and when they became that; None where an
            entry does not say it.
        gaps: Entries of what has no row.
        is_removed: It was deleted by the command.
    """

    genesis: str
    opened: Row
    rows: int | None = None
    closed_at: str | None = None
    last_hash: str | None = None
    erased: dict[int, set[str | None]] = field(default_factory=dict)
    gaps: list[Row] = field(default_factory=list)
    is_removed: bool = False

    def has_erasure(self, number: int, erased_at: object) -> bool:
        """Tell whether a row was erased then."""
        times = self.erased.get(number, set())
        return None in times or str(erased_at) in times


def utc(now_s: float | None = None) -> str:
    """Return a time as RFC 3339 has it, in UTC, with milliseconds."""
    ms = int(1000 * (time.time() if now_s is None else now_s))
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z"


class Manifest:
    """
    The manifest of a folder, held: nobody else appends while it is entered.

    Raises:
        OSError: The folder is away, or cannot be written; nothing was changed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd = -1

    def __enter__(self) -> Manifest:
        """Take the lock."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        os.close(self._fd)

    def append(self, event: str, segment: str, **facts: Any) -> Row:
        """
        Append an entry, as a whole or not at all.

        Raises:
            OSError: It could not be written.
        """
        size, last = self._end()
        entry = {"event": event, "segment": segment, "time": utc(), **facts, "prevhash": last}
        entry["hash"] = sha256(canonical(entry))
        write_whole(self._fd, line_of(entry), size)
        return entry

    def open_records(self) -> dict[str, SegmentRecord]:
        """Return what it says of each segment that is neither closed nor removed."""
        return records_of(entries(self._path), is_open_only=True)

    def _end(self) -> tuple[int, str]:
        """Return its length, and the last entry's hash; cut off what a killed process left."""
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            size -= len(tail) - len(whole)
            os.ftruncate(self._fd, size)
        try:
            return size, str(json.loads(whole.splitlines()[-1])["hash"])
        except (IndexError, ValueError, KeyError, TypeError):
            return size, NO_HASH  # it begins, or was spoilt: --verify says which


def entries(path: Path) -> Iterator[Row]:
    """Yield the entries that can be read; `verify` is who looks at the others."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def records_of(told: Iterator[Row], *, is_open_only: bool = False) -> dict[str, SegmentRecord]:
    """
    Return what entries say of each segment, in the order in which they were opened.

    Args:
        told: The entries.
        is_open_only: Keep none of a segment that is closed or removed: a manifest has years of
            them.
    """
    found: dict[str, SegmentRecord] = {}
    for entry in told:
        name, event = str(entry.get("segment")), entry.get("event")
        if event == "opened":
            found[name] = SegmentRecord(genesis=str(entry.get("hash")), opened=entry)
        record = found.get(name)
        if record is None:
            continue
        with suppress(KeyError, TypeError, ValueError):  # spoilt: --verify says which
            if event == "closed":
                record.rows, record.last_hash = int(entry["rows"]), str(entry["last_hash"])
                record.closed_at = str(entry["time"])
            elif event == "gap":
                record.gaps.append(entry)
            elif event == "erased":
                for number in map(int, entry["numbers"]):
                    record.erased.setdefault(number, set()).add(entry.get("at"))
            elif event == "removed":
                record.is_removed = True
        if is_open_only and (record.rows is not None or record.is_removed):
            del found[name]
    return found


def write_whole(fd: int, content: bytes, size: int) -> None:
    """
    Append bytes to a file of a known size, all or none.

    Raises:
        OSError: They could not be written; the file is as long as before.
    """
    try:
        written = os.write(fd, content)
        while written < len(content):
            written += os.write(fd, content[written:])
    except OSError:
        os.ftruncate(fd, size)  # giving room back needs none
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """
    Hold a folder: its files are not erased in, compacted and verified by two processes at once.

    Writers do not ask. The folder itself is the lock, so who may only read can hold it, too.

    Raises:
        OSError: It cannot be opened.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
