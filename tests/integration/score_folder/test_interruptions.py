"""A run that is killed, interrupted, repeated or started twice: whole rows, the same result."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

from tests.folder_scoring import (
    GOLDEN,
    TIMEOUT_S,
    command,
    journal,
    rows_of,
    run_folder,
    score,
    wait_for_rows,
)


def test_killed_at_any_moment_it_goes_on_to_the_same_result(few: Path, tmp_path: Path) -> None:
    """By kill -9 of the command, five times: the output is always whole, in the end the same."""
    undisturbed, out = tmp_path / "undisturbed.csv", tmp_path / "scores.csv"
    assert score(few, "--out", undisturbed)[0] == 0
    moments = random.Random(0)
    lengths = []
    for _ in range(5):
        process = command(few, "--out", out, "--workers", 1)
        wait_for_rows(process, out, moments.randrange(1, 9))
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        if out.exists():
            assert undisturbed.read_bytes().startswith(out.read_bytes())
        lengths.append(len(journal(out)))
    assert lengths == sorted(lengths) and lengths[0] < 30
    status, said = score(few, "--out", out)
    assert status == 0, said
    assert out.read_bytes() == undisturbed.read_bytes()
    assert not run_folder(out).exists()


def test_interrupted_it_leaves_what_it_has_and_says_so(many: Path, tmp_path: Path) -> None:
    """Ctrl-C and `docker stop` (TERM): exit status 130, each row that was done is in the output."""
    out = tmp_path / "scores.jsonl"
    for way in (signal.SIGINT, signal.SIGTERM):
        process = command(many, "--out", out, "--workers", 1)
        wait_for_rows(process, out, 3)
        process.send_signal(way)
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 130, said
        assert "interrupted; what was finished is kept" in said
        assert len(out.read_text().splitlines()) == len(journal(out)) >= 3


def test_another_model_or_other_inputs_are_refused(few: Path, many: Path, tmp_path: Path) -> None:
    """Neither a finished output nor an unfinished run takes rows of another model."""
    out = tmp_path / "scores.csv"
    assert score(few, "--out", out)[0] == 0
    before = out.read_bytes().replace(b",shipped,", b",7,")
    out.write_bytes(before)
    status, said = score(few, "--out", out)
    assert status == 1
    assert "expected rows of iqa version shipped" in said and "got rows of version 7" in said
    assert "--no-resume" in said and out.read_bytes() == before
    assert score(few, "--out", out, "--no-resume")[0] == 0
    assert {row["model_version"] for row in rows_of(out)} == {"shipped"}

    unfinished = tmp_path / "unfinished.csv"
    process = command(many, "--out", unfinished, "--workers", 1)
    wait_for_rows(process, unfinished, 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    status, said = score(GOLDEN[0], "--out", unfinished)
    assert (status, "expected the inputs of its unfinished run" in said) == (1, True), said
    facts = run_folder(unfinished) / "run.json"
    facts.write_text(facts.read_text().replace('"shipped"', '"7"'))
    status, said = score(many, "--out", unfinished)
    assert (status, "got iqa version shipped" in said) == (1, True), said
    assert len(journal(unfinished)) >= 1

    (tmp_path / "mine.csv").write_text("name,price\nbread,2\n")
    status, said = score(few, "--out", tmp_path / "mine.csv")
    assert (status, "got a file with other columns" in said) == (1, True)
    assert (tmp_path / "mine.csv").read_text() == "name,price\nbread,2\n"


def test_a_finished_output_gets_the_rows_that_it_lacks(few: Path, tmp_path: Path) -> None:
    """New files, and those that could not be read before; nothing is scored twice."""
    out = tmp_path / "scores.csv"
    (few / "07.jpg").unlink()
    (few / "07.jpg").symlink_to(tmp_path / "away.jpg")
    status, said = score(few, "--out", out)
    assert status == 1 and "1 not scored: unreadable" in said, said
    before = rows_of(out)
    shutil.copy(GOLDEN[0], tmp_path / "away.jpg")
    shutil.copy(GOLDEN[0], few / "00-new.jpg")
    status, said = score(few, "--out", out)
    assert status == 0 and "31 rows, 2 of them new" in said, said
    assert rows_of(out)[:29] == [row for row in before if row["filename"] != "07.jpg"]
    assert [row["filename"] for row in rows_of(out)[29:]] == ["00-new.jpg", "07.jpg"]
    whole = out.read_bytes()
    assert "nothing to do" in score(few, "--out", out)[1] and out.read_bytes() == whole


def test_one_run_writes_an_output_at_a_time(few: Path, tmp_path: Path) -> None:
    """A second one is told whose it is."""
    out = tmp_path / "scores.csv"
    first = command(few, "--out", out, "--workers", 1)
    wait_for_rows(first, out, 1)
    status, said = score(few, "--out", out)
    assert (status, f"got process {first.pid} still at it" in said) == (1, True), said
    first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 0 and len(rows_of(out)) == 30
