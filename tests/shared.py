"""What several processes of pytest-xdist need alike is made by one of them, once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.server.file_lock import locked

WAIT_S = 280.0  # less than a test's limit: the lock's own words say more
DONE = "done"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """
    Return a folder that holds what `make` wrote into it, for all processes of this run.

    The first to ask makes it, the others wait. Where making it failed, the next one tries again in
    an empty folder. Nobody may change it: who wants to, copies.

    Args:
        factory: Pytest's; its folder is this process's own, the one above it the run's.
        name: What is made.
        make: Called with the folder, which is there and empty.

    Raises:
        TimeoutError: Another process has been making it for `WAIT_S`.
    """
    own = factory.getbasetemp()
    folder = (own.parent if own.name.startswith("popen-") else own) / "shared"  # xdist's name
    with locked(folder / f"{name}.lock", WAIT_S, f"making {name}"):
        attempt = 0
        while (made := folder / f"{name}-{attempt}").exists():
            if (made / DONE).exists():
                return made
            attempt += 1
        made.mkdir()
        make(made)
        (made / DONE).touch()
        return made
