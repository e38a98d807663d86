"""
Files that start servers come between those that compute, where several processes run them.

The former wait for most of their time, the latter keep a core busy: in turn they take less time
than one kind after the other. What computes is left for the end, where a short file fills a gap
that no long one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from console.paths import ROOT

COMPUTE = ("unit", "integration")
SERVED_BY = 0.85
"""Of the way through the list the last file with servers has begun."""


def in_turn(files: Sequence[Path]) -> list[Path]:
    """Return the files in the order in which they run."""
    served = [file for file in files if not _computes(file)]
    computed = [file for file in files if _computes(file)]
    places = {file: SERVED_BY * number / len(served) for number, file in enumerate(served)}
    places |= {file: number / len(computed) for number, file in enumerate(computed)}
    return sorted(files, key=places.__getitem__)


def _computes(file: Path) -> bool:
    inside = file.relative_to(ROOT / "tests").parts
    return len(inside) == 1 or inside[0] in COMPUTE


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the items by file; each process of pytest-xdist does the same."""
    if not hasattr(config, "workerinput"):
        return
    items[:] = by_file(items)


def by_file(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the items in the order in which their files run; within a file as they are."""
    found: dict[Path, list[pytest.Item]] = {}
    for item in items:  # pytest may have put some of a file elsewhere, beside those that share
        found.setdefault(item.path, []).append(item)
    return [item for file in in_turn(list(found)) for item in found[file]]
