"""The two halves of `make test`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from console.paths import ROOT
from tests import side_by_side


def test_each_file_is_in_one_half_and_those_that_measure_a_time_in_the_first() -> None:
    """None is left out but the containers', which are asked for by name."""
    first = _test_files(ROOT / part for part in side_by_side.parts_with_a_server())
    behind = _test_files(side_by_side.TESTS / name for name in side_by_side.WITHOUT_SERVER)
    timed = set(side_by_side.files_that_measure_a_time())
    containers = _test_files(side_by_side.TESTS / name for name in side_by_side.ASKED_FOR_BY_NAME)

    assert timed < behind
    assert ROOT / "tests" / "unit" / "test_load.py" in timed
    assert not first & behind
    assert containers
    assert first | behind == _test_files([side_by_side.TESTS]) - containers


@pytest.mark.parametrize(
    ("first", "behind", "code"), [("pass", "pass", 0), ("1 / 0", "pass", 1), ("pass", "1 / 0", 1)]
)
def test_both_halves_are_shown_and_each_can_fail_the_whole(
    first: str, behind: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:  # fmt: skip
    """The half behind comes after the other, whichever ends first."""
    for name, does in (("e2e", first), ("unit", behind), ("integration", "pass")):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / f"test_{name}.py").write_text(f"def test_it():\n    {does}\n")
    monkeypatch.setattr(side_by_side, "ROOT", tmp_path)
    monkeypatch.setattr(side_by_side, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(side_by_side, "FIRST", ())  # without processes of pytest-xdist
    monkeypatch.setattr(side_by_side, "BEHIND", ())
    monkeypatch.setattr(sys, "argv", ["tests.side_by_side", "-p", "no:cacheprovider", "-v"])

    assert side_by_side.main() == code

    shown = capfdbinary.readouterr().out.decode()
    at_end = shown.index("The tests without a server:")
    assert "test_e2e.py::test_it" in shown[:at_end]
    assert "test_unit.py::test_it" in shown[at_end:]
    assert "test_integration.py::test_it" in shown[at_end:]


def _test_files(folders: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    for folder in folders:
        found |= {folder} if folder.is_file() else set(folder.rglob("test_*.py"))
    return found
