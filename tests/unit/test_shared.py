"""What is made once a run, for all processes of pytest-xdist."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.shared import made_once


def factory(folder: Path) -> Any:
    """Return the part of pytest's factory that is asked."""
    folder.mkdir(exist_ok=True)
    return SimpleNamespace(getbasetemp=lambda: folder)


def test_all_processes_of_a_run_get_what_the_first_one_made(tmp_path: Path) -> None:
    """Four at once: it is made a single time, and nobody gets it half made."""
    made: list[str] = []

    def make(folder: Path) -> None:
        (folder / "first").touch()
        made.append(folder.name)
        (folder / "last").touch()

    def ask(number: int) -> set[str]:
        folder = made_once(factory(tmp_path / f"popen-gw{number}"), "thing", make)
        return {path.name for path in folder.iterdir()}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert made == ["thing-0"]
    assert all({"first", "last"} <= names for names in found)


def test_without_several_processes_it_is_this_ones_own(tmp_path: Path) -> None:
    """Nothing is left above the folder of a run."""
    run = factory(tmp_path / "pytest-0")
    assert tmp_path / "pytest-0" in made_once(run, "thing", lambda _: None).parents


def test_what_failed_is_made_anew_in_an_empty_folder(tmp_path: Path) -> None:
    """The next one to ask gets another try, and never what a failure left."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        made_once(factory(tmp_path), "thing", fail)
    again = made_once(factory(tmp_path), "thing", lambda folder: (folder / "whole").touch())
    assert (again / "whole").exists() and not (again / "half").exists()
