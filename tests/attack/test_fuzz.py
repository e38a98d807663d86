"""The fuzzer: a short hunt finds nothing, and a file that costs too much is found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.attack import fuzz
from tests.attack.mutations import mended, mutate, parts_of
from tests.images import PLAIN_FORMATS, bomb


def test_a_short_hunt_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand changed pictures: results and refusals, nothing else, within the limits."""
    status = fuzz.main(["--runs", "1000", "--seed", "0", "--folder", str(tmp_path)])
    said = capsys.readouterr().out
    assert status == 0, said
    assert said.splitlines()[-1].startswith("1000 runs")  # where it is slow, it tells how far it is
    assert len(list((tmp_path / "corpus").iterdir())) > 20  # new lines were reached


def test_a_file_that_costs_too_much_is_found_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over its time, a file is found; it is kept with the reason and the command to see it."""
    slow = tmp_path / "slow.png"
    slow.write_bytes(bomb(7000))
    folder = tmp_path / "hunt"
    arguments = ["--file", str(slow), "--folder", str(folder)]
    assert fuzz.main([*arguments, "--cpu-s", "0.01"]) == 1
    assert "more than 0.01 s of processor time" in capsys.readouterr().out
    (kept,) = (folder / "findings").glob("*.txt")
    assert f"--file {kept.with_suffix('')}" in kept.read_text()
    assert kept.with_suffix("").read_bytes() == slow.read_bytes()
    assert fuzz.main(arguments) == 0


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_parts_are_the_whole_file(name: str) -> None:
    """A file is taken apart without loss, and one that is right needs no mending."""
    body = PLAIN_FORMATS[name]()
    assert b"".join(parts_of(body)) == body
    assert len(parts_of(body)) > 2
    assert mended(body) == body


def test_the_same_seed_changes_a_file_in_the_same_way() -> None:
    """What was found can be made again."""
    files = [build() for build in PLAIN_FORMATS.values()]
    first, again, other = (mutate(random.Random(seed), files[0], files) for seed in (1, 1, 2))
    assert first == again != other
