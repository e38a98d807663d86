"""Fixtures of the tests that train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import made_once

# Torch is imported where it is used, see tests/conftest.py.


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four synthetic pictures, made once; nobody writes to them."""
    from training import demo_data

    made = made_once(tmp_path_factory, "demo", lambda folder: demo_data.make(folder / "set", 24))
    return made / "set"
