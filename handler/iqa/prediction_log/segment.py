"""
A segment: the file to which one process appends its rows, whole lines at a time.

Its writer holds a lock on it for as long as it lives, so that anybody can tell a segment that is
still written from one whose writer was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from iqa.prediction_log.chain import Row, chained, line_of, number_of
from iqa.prediction_log.manifest import TAIL_BYTES, Manifest, write_whole

SUFFIX: Final = ".jsonl"
SALT_BYTES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Tail:
    """
    How a file ends.

    Attributes:
        rows: Whole ones; a line counts with its line break.
        last_hash: Of the last row.
        torn_bytes: After it, of a line that was not finished.
    """

    rows: int
    last_hash: str
    torn_bytes: int


class Segment:
    """
    A segment that is written.

    Args:
        folder: Of the log; it must be there.
        facts: Who writes, for the manifest.

    Attributes:
        name: Of the segment; ids of its rows begin with it.
        rows: How many it has.
        size: Bytes.
        opened_at_s: By the monotonic clock.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"  # so that names sort by time
        self.name = f"{stamp}-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder
        self._path = folder / f"{self.name}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            with Manifest(folder) as manifest:
                self._hash = str(manifest.append("opened", self.name, **facts)["hash"])
        except BaseException:
            os.close(self._fd)
            with suppress(OSError):
                self._path.unlink()
            raise
        self.rows = self.size = 0
        self.opened_at_s = time.monotonic()

    def is_in_place(self) -> bool:
        """Tell whether its name still leads to it: nobody reads what goes to a deleted file."""
        try:
            there, ours = os.stat(self._path), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def write(self, rows: list[Row]) -> None:
        """
        Append rows, all or none.

        Raises:
            OSError: They could not be written; the segment is as before.
        """
        last, lines = self._hash, []
        for number, row in enumerate(rows, self.rows):
            salt = secrets.token_hex(SALT_BYTES)
            last = chained(row, f"{self.name}/{number}", last, salt)["hash"]
            lines.append(line_of(row))
        content = b"".join(lines)
        write_whole(self._fd, content, self.size)
        self._hash = last
        self.rows += len(rows)
        self.size += len(content)

    def note_gap(self, before: int, dropped: int, reason: str, since: str) -> None:
        """
        Put on record that some answers before a row have none.

        Raises:
            OSError: It could not be written.
        """
        with Manifest(self._folder) as manifest:
            manifest.append(
                "gap", self.name, before=before, dropped=dropped, reason=reason, since=since
            )

    def close(self) -> None:
        """
        Declare it complete, and let it go.

        Raises:
            OSError: It could not be declared; it is still open.
        """
        os.fsync(self._fd)
        with Manifest(self._folder) as manifest:
            manifest.append(
                "closed", self.name, rows=self.rows, last_hash=self._hash, by="its writer"
            )
        self.abandon()

    def abandon(self) -> None:
        """Let it go as it is."""
        os.close(self._fd)


def tail_of(path: Path, genesis: str) -> Tail | None:
    """
    Return how a segment's file ends; None where its last line is no row of it.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read(TAIL_BYTES)
    whole = tail[: tail.rfind(b"\n") + 1]
    torn = len(tail) - len(whole)
    if not whole:
        return Tail(rows=0, last_hash=genesis, torn_bytes=torn) if torn == size else None
    try:
        row = json.loads(whole.splitlines()[-1])
        number = number_of(row, path.stem)
        if number is None:
            return None
        return Tail(rows=number + 1, last_hash=str(row["hash"]), torn_bytes=torn)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_written(path: Path) -> bool:
    """
    Tell whether a segment's writer lives.

    Raises:
        OSError: The file cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def close_left_over(folder: Path) -> int:
    """
    Declare complete what killed processes left open; return how many segments that were.

    Raises:
        OSError: The folder cannot be read or written.
    """
    closed = 0
    with Manifest(folder) as manifest:
        for name, record in manifest.open_records().items():
            path = folder / f"{name}{SUFFIX}"
            if not _is_left_over(path):
                continue
            tail = tail_of(path, record.genesis)
            if tail is not None:
                manifest.append(
                    "closed", name, rows=tail.rows, last_hash=tail.last_hash, by="another",
                    torn_bytes=tail.torn_bytes,
                )  # fmt: skip
                closed += 1
    return closed


def _is_left_over(path: Path) -> bool:
    try:
        return not is_written(path)
    except FileNotFoundError:
        return False
