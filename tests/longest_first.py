"""
The files that take longest begin first: one that begins last is left over, alone on all cores.

By seconds of one run of `make test` (two cores, three processes); whoever adds a slow file adds it.
Order counts where pytest-xdist is told to keep it, `--no-loadscope-reorder`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from console.paths import ROOT

LONGEST: Final = (
    "tests/e2e/test_fleet.py", "tests/e2e/test_chain.py", "tests/e2e/test_canary.py",
    "tests/e2e/test_reliability.py", "tests/e2e/deploy/test_watch.py",
    "tests/e2e/test_two_models.py", "tests/e2e/test_run_script.py", "tests/attack/test_wire.py",
    "tests/e2e/deploy/test_refusals.py", "tests/e2e/test_supervisor.py",
    "tests/attack/test_corpus.py", "tests/e2e/gateway/test_operation.py",
    "tests/e2e/deploy/test_swaps.py", "tests/e2e/test_front.py", "tests/e2e/test_serving.py",
    "tests/e2e/deploy/test_retiring.py",
)  # fmt: skip
"""From 222 seconds down to 62, but for `test_fleet`: 147, and what it waits for beside."""


def place_of(path: Path) -> int:
    """Return where a file begins: those that are not named come after all that are."""
    name = path.relative_to(ROOT).as_posix()
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first; the order within a file stays."""
    items.sort(key=lambda item: place_of(item.path))
