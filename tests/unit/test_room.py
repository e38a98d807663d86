"""Whether there is room for one more version."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import psutil
import pytest

from scripts.rollout import capacity
from scripts.server.client import Loaded
from scripts.server.http_client import NotNow


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    """An archive of a megabyte."""
    path = tmp_path / "iqa-2.mar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("model.onnx", bytes(2**20))
    return path


def loaded(*pids: int) -> Loaded:
    """A version with these workers."""
    return Loaded(version="1", mar="iqa-1.mar", pids=pids, ready=len(pids), queue=0)


def too_many() -> int:
    """Return how many processes like this one need more than there is."""
    # Not than is free, which others change meanwhile.
    return psutil.virtual_memory().total // psutil.Process().memory_full_info().uss + 2


def test_there_is_room_here(mar: Path, tmp_path: Path) -> None:
    """One more process like this one fits, and a process that is gone counts nothing."""
    gone = [2**22 + 1] * too_many()
    with pytest.raises(NotNow, match="memory"):  # as many that live would not fit
        capacity.expect_room(mar, loaded(*[os.getpid()] * len(gone)), tmp_path)
    for beside in (loaded(os.getpid()), loaded(*gone), None):
        capacity.expect_room(mar, beside, tmp_path)


def test_too_little_memory_is_told_before_it_runs_out(mar: Path, tmp_path: Path) -> None:
    """As many workers as would need more than all memory are refused, with both numbers."""
    count = too_many()
    with pytest.raises(NotNow, match=rf"memory: expected \d+ MiB available for {count} more"):
        capacity.expect_room(mar, loaded(*[os.getpid()] * count), tmp_path)


def test_too_little_disk_is_told_before_it_runs_out(
    mar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unpacked size counts, and what the server needs beside it."""
    monkeypatch.setattr(capacity, "SPARE_DISK_BYTES", psutil.disk_usage(str(tmp_path)).total)
    with pytest.raises(NotNow, match=r"disk: expected \d+ MiB free to unpack iqa-2.mar, got \d+"):
        capacity.expect_room(mar, None, tmp_path)


def test_another_machine_is_not_measured_from_here(mar: Path, tmp_path: Path) -> None:
    """What is refused here is not refused there: without its folder nothing is known."""
    many = loaded(*[os.getpid()] * too_many())
    with pytest.raises(NotNow, match="memory"):
        capacity.expect_room(mar, many, tmp_path)
    capacity.expect_room(mar, many, None)
