"""Images to score: thirty, or too many to be done soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.folder_scoring import links


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Thirty images: links to the golden ones."""
    return links(tmp_path / "few", 30)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Too many to be done before this process, on a busy machine, can interrupt it."""
    return links(tmp_path / "many", 600)
