"""An archive is read once, and what lies in its place later is noticed without reading it again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.archive.mar_file import Reading


def _replace(mar: Path) -> None:
    other = mar.with_suffix(".other")
    other.write_bytes(mar.read_bytes())
    os.replace(other, mar)


def _write_back(mar: Path) -> None:
    """Alter a byte and set the time of the content back, as a restored copy has it."""
    before = mar.stat()
    with mar.open("r+b") as file:
        file.write(b"X")
    os.utime(mar, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert mar.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "change",
    [_replace, _write_back, lambda mar: os.truncate(mar, 3), Path.unlink],
    ids=["replaced", "written to", "cut", "gone"],
)
def test_another_archive_under_the_name_is_noticed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """The digest is that of the bytes; reading it does not count as a change, all else does."""
    mar = tmp_path / "iqa-1.mar"
    mar.write_bytes(b"an archive")
    time.sleep(0.05)  # two writes within one tick of the file system's clock look like one
    reading = Reading(mar)
    assert reading.sha256 == hashlib.sha256(b"an archive").hexdigest()
    mar.read_bytes()
    assert reading.is_current()
    change(mar)
    assert not reading.is_current()
