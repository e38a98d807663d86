"""How many workers a start makes by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.server.cores import usable_cores


@pytest.fixture(autouse=True)
def _eight_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", 8), ("50000 100000", 1), ("200000 100000", 2), ("150000 100000", 2),
     ("9900000 100000", 8), ("", 8), ("many 100000", 8), ("100000 0", 8)],
)  # fmt: skip
def test_the_quota_of_the_container_counts_and_not_the_host(
    content: str, expected: int, tmp_path: Path
) -> None:
    """Eight cores may be seen where two may be used: eight workers would strangle each other."""
    (tmp_path / "cpu.max").write_text(content)
    assert usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2), ("250000", 3)])
def test_the_older_control_groups_count_as_well(quota: str, expected: int, tmp_path: Path) -> None:
    """Version 1 has two files where version 2 has one; -1 is no limit."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == expected


def test_where_nothing_is_told_the_affinity_counts(tmp_path: Path) -> None:
    """No control groups at all, as on other systems."""
    assert usable_cores(tmp_path) == 8
