"""The thread that writes rows: who adds one waits for nothing; what cannot be written is lost."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from iqa.prediction_log.chain import Row
from iqa.prediction_log.manifest import utc
from iqa.prediction_log.segment import Segment, close_left_over

logger = logging.getLogger(__name__)

FLUSH_S: Final = 0.5
"""Between two writes; a killed process loses at most what came in this time."""
MAX_BYTES: Final = 64 * 2**20
MAX_AGE_S: Final = 3600.0
MAX_WAITING: Final = 10_000
"""Rows in memory, should the disk hang; about 10 MB."""
QUEUE_FULL: Final = "the queue was full"


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What became of the rows since the report before.

    Attributes:
        written: They are in the segment.
        dropped: They are lost.
        errno: Why nothing can be written; 0: it can.
    """

    written: int
    dropped: int
    errno: int


class LogWriter:
    """
    Takes rows from one process and appends them to a segment of its own, twice a second.

    Args:
        folder: Of the log. It is never made here: a disk that is not mounted is not to be replaced
            by a folder of its name.
        facts: Who writes, for the manifest.
        on_report: Called by the thread after each write or failure.
        as_row: Makes a row of what was added, in the thread; without it rows are added.
        flush_s: Between two writes.
        max_bytes: A segment of this size is closed.
        max_age_s: So is one of this age.
    """

    def __init__(
        self,
        folder: Path,
        facts: dict[str, Any],
        on_report: Callable[[Report], None],
        *,
        as_row: Callable[[Any], Row] | None = None,
        flush_s: float = FLUSH_S,
        max_bytes: int = MAX_BYTES,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._folder, self._facts, self._on_report = folder, facts, on_report
        self._as_row = as_row
        self._flush_s, self._max_bytes, self._max_age_s = flush_s, max_bytes, max_age_s
        self._waiting: list[Any] = []
        self._overflow = 0
        self._lost = 0  # and not yet in the manifest
        self._lost_since = self._lost_why = ""
        self._errno = 0
        self._segment: Segment | None = None
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._run, name="prediction-log", daemon=True).start()

    def add(self, answer: Any) -> None:
        """Take a row, without `id` and digests, or what `as_row` makes one of; it is not copied."""
        with self._lock:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(answer)
            else:
                self._overflow += 1
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Write what waits; a failure is counted and never raised."""
        with self._flushing:
            self._wake.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, []
                overflow, self._overflow = self._overflow, 0
            rows = [row for answer in waiting if (row := self._row_of(answer)) is not None]
            written, error = 0, self._errno
            if rows:
                try:
                    self._write(rows)
                    written, error = len(rows), 0
                except OSError as failure:
                    error = failure.errno or errno.EIO
                except Exception:  # a row that is no JSON: a fault of ours, and no score's matter
                    logger.exception("prediction log: rows were not written")
                    error = errno.EINVAL
            dropped = overflow + len(waiting) - written
            if dropped and not self._lost:
                is_full = written == len(waiting)
                self._lost_since = utc()
                self._lost_why = QUEUE_FULL if is_full else os.strerror(error or errno.EINVAL)
            self._lost += dropped
            self._tell(error)
            if written or dropped:
                self._on_report(Report(written=written, dropped=dropped, errno=error))

    def _row_of(self, answer: Any) -> Row | None:
        if self._as_row is None:
            row: Row = answer
            return row
        try:
            return self._as_row(answer)
        except Exception:  # a fault of ours: the others are written
            logger.exception("prediction log: a row was not made")
            return None

    def close(self) -> None:
        """Write what waits, and declare the segment complete; what comes later opens another."""
        self.flush()
        with self._flushing:
            self._close_segment()

    def _run(self) -> None:
        try:
            close_left_over(self._folder)
        except Exception as error:  # whatever somebody made of the manifest
            logger.warning("prediction log: %s", error)
        while True:
            if self._wake.wait(self._until_old_s()):
                time.sleep(self._flush_s)
            try:
                self.flush()
                with self._flushing:
                    segment = self._segment
                    if segment and (segment.size >= self._max_bytes or self._until_old_s() == 0.0):
                        self._close_segment()
            except Exception:  # a thread that ends would be a log that stops and never says so
                logger.exception("prediction log: a round failed")

    def _until_old_s(self) -> float | None:
        """Return how long the segment may stay open; None without one."""
        segment = self._segment
        if segment is None:
            return None
        return max(0.0, segment.opened_at_s + self._max_age_s - time.monotonic())

    def _write(self, rows: list[Row]) -> None:
        if self._segment is not None and not self._segment.is_in_place():
            self._segment.abandon()  # its file was deleted, or the folder moved away
            self._segment = None
        if self._segment is None:
            self._segment = Segment(self._folder, self._facts)
        before = self._segment.rows
        self._segment.write(rows)
        with suppress(OSError):  # the rows are there; this comes with the next ones
            self._note_gap(self._segment, before)

    def _note_gap(self, segment: Segment, before: int) -> None:
        if self._lost:
            segment.note_gap(before, self._lost, self._lost_why, self._lost_since)
            self._lost = 0

    def _close_segment(self) -> None:
        """
        Close it, or leave it open where that cannot be written.

        One that is too large is tried again after the next write, one that is too old when it is
        as old again: what waits for it is no row.
        """
        segment = self._segment
        if segment is None:
            return
        try:
            self._note_gap(segment, segment.rows)  # of the last round: no rows come after it
            segment.close()
            self._segment = None
        except OSError as error:
            logger.warning("prediction log: segment %s: not closed: %s", segment.name, error)
            segment.opened_at_s = time.monotonic()

    def _tell(self, error: int) -> None:
        """Say once that the log stopped, and once that it goes on."""
        if error == self._errno:
            return
        self._errno = error
        if error:
            logger.warning(
                "prediction log: %s: expected to write there, got: %s. Answers go on and have no "
                "row until it can be written.", self._folder, os.strerror(error),
            )  # fmt: skip
        else:
            logger.warning("prediction log: %s: it is written again", self._folder)
