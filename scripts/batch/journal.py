"""
The rows of a run that is not finished, one line each, in the order in which they were done.

A line is written by one call as soon as its row is known. Whoever is killed in the middle leaves a
line that breaks off, and it is cut away; nothing before it is touched.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator
from pathlib import Path

from scripts.batch.rows import Row


class Journal:
    """
    One file of `[index, row]`, taken up where it ends.

    Args:
        path: Made if missing.

    Attributes:
        count: Rows in it.
        until: All places below this one have their row.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self.until = 0
        self._later: set[int] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.lseek(self._file, self._sound_bytes(), os.SEEK_SET)
        os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR))

    def __contains__(self, index: int) -> bool:
        """Tell whether a place has its row."""
        return index < self.until or index in self._later

    def add(self, index: int, row: Row) -> None:
        """
        Write a row; a second one for the same place is dropped.

        Raises:
            OSError: The disk is full. What was written before is whole.
        """
        if index in self:
            return
        content = (json.dumps([index, row]) + "\n").encode()
        while content:
            content = content[os.write(self._file, content) :]
        self._count(index)

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def in_order(self) -> Iterator[Row]:
        """Return the rows by place, up to the first place that has none."""
        waiting: list[tuple[int, bytes]] = []
        following = 0
        with self._path.open("rb") as file:
            for line in file:
                index = int(line[1 : line.index(b",")])
                heapq.heappush(waiting, (index, line))
                while waiting and waiting[0][0] == following:
                    row: Row = json.loads(heapq.heappop(waiting)[1])[1]
                    yield row
                    following += 1

    def _sound_bytes(self) -> int:
        """Count what is there; return the length of the part without a broken line."""
        sound = 0
        with self._path.open("rb") as file:
            for line in file:
                try:
                    index, _ = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                self._count(index)
                sound += len(line)
        return sound

    def _count(self, index: int) -> None:
        self.count += 1
        self._later.add(index)
        while self.until in self._later:
            self._later.remove(self.until)
            self.until += 1
