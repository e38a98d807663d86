"""How many workers a start makes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import serve


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", 8), ("50000 100000", 1), ("200000 100000", 2), ("150000 100000", 2),
     ("9900000 100000", 8), ("", 8)],
)  # fmt: skip
def test_the_quota_of_the_container_counts_and_not_the_host(
    content: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight cores may be seen where two may be used: eight workers would strangle each other."""
    (tmp_path / "cpu.max").write_text(content)
    monkeypatch.setattr(serve, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(serve.os, "sched_getaffinity", lambda process: set(range(8)))
    assert serve.usable_cores() == expected
