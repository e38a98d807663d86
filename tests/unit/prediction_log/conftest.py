"""A log of two segments, and no waiting for writers."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.prediction_log import maintenance
from tests.prediction_rows import OTHER, PICTURE, row, writer_of


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writers of these tests are flushed before a picture is erased."""
    monkeypatch.setattr(maintenance, "WRITTEN_BY_NOW_S", 0.0)


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
