"""Fixtures of the tests that train."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import demo_data


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four synthetic pictures, made once; nobody writes to them."""
    out = tmp_path_factory.mktemp("demo") / "set"
    demo_data.make(out, 24)
    return out
