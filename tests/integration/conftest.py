"""Fixtures of the tests that train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import made_once

# Torch is imported where it is used, see tests/conftest.py.


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four synthetic pictures, made once; nobody writes to them."""
    from training.data import demo_sets

    made = made_once(tmp_path_factory, "demo", lambda folder: demo_sets.make(folder / "set", 24))
    return made / "set"
