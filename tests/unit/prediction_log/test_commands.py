"""`python -m scripts.predictions`: counts, one request, erasure, checks."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from iqa.prediction_log.manifest import locked

from scripts import predictions
from scripts.prediction_log import maintenance
from scripts.prediction_log.verify import Findings
from tests.prediction_rows import PICTURE, row, run, segment_files, writer_of


def test_the_command_counts_by_hour_and_version(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures as a table, as JSON, as CSV; half of them from Parquet."""
    maintenance.compact(log)
    writer = writer_of(log)
    writer.add(row(9))
    writer.flush()
    status, text = run(capsys, str(log), "--json")
    (one,) = json.loads(text)
    assert status == 0
    assert (one["begin"], one["model"], one["version"]) == ("2026-11-29T04:00Z", "iqa", "1")
    assert (one["answers"], one["scored"], one["rejected"]) == (10, 9, 1)
    assert (one["reasons"], one["labels"]) == ({"undecodable": 1}, {"good": 9})
    scores = [40.0 + number for number in range(10) if number != 2]
    assert one["mean"] == pytest.approx(sum(scores) / 9, abs=0.01)
    table = run(capsys, str(log))[1].splitlines()
    assert table[1].split()[:4] == ["2026-11-29T04:00Z", "iqa", "1", "10"]
    assert table[1].endswith("undecodable 1")
    assert run(capsys, str(log), "--csv", "--by", "day")[1].splitlines()[1].startswith("2026-11-29")
    assert run(capsys, str(log), "--since", "2026-11-30")[1] == "no answers\n"
    early = run(capsys, str(log), "--until", "2026-11-29T04:31:03+00:00", "--json")[1]
    assert json.loads(early)[0]["answers"] == 3
    writer.close()


def test_the_command_shows_one_request(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the client's id or the row's; an unknown one is exit status 1."""
    status, text = run(capsys, str(log), "--id", "request-7")
    assert (status, json.loads(text)["data"]["score"]) == (0, 47.0)
    assert run(capsys, str(log), "--id", json.loads(text)["id"]) == (0, text)
    assert "request-7" in run(capsys, str(log), "--id", "request-7", "--csv")[1]
    assert run(capsys, str(log), "--id", "request-99")[0] == 1


def test_the_command_verifies_erases_and_compacts(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 where something was changed; nothing that was changed becomes Parquet."""
    assert run(capsys, str(log), "--erase-picture", PICTURE) == (0, "3 rows erased\n")
    status, text = run(capsys, str(log), "--verify", "--json")
    assert (status, Findings(**json.loads(text)).erased) == (0, 3)
    (log / "heads.json").write_text(text)
    assert run(capsys, str(log), "--verify", "--against", str(log / "heads.json"))[0] == 0
    path = segment_files(log)[0]
    path.write_bytes(path.read_bytes().replace(b'"score":40.0', b'"score":90.0'))
    status, text = run(capsys, str(log), "--verify")
    assert status == 1
    assert f"CHANGED  segment {path.stem}, row 0: edited" in text
    status, text = run(capsys, str(log), "--compact")
    assert (status, text.splitlines()[0]) == (1, "1 segments are Parquet now")
    assert f"segment {path.stem}: stays as it is" in text


@pytest.mark.parametrize(
    "command",
    [
        [], ["--id", "request-7"], ["--verify"], ["--compact"], ["--erase-picture", PICTURE],
        ["--remove-before", "2026-01-01"],
    ],
)  # fmt: skip
def test_a_command_waits_for_another_one(log: Path, command: list[str]) -> None:
    """Files come and go while one compacts or erases."""
    ended: list[int] = []
    waiting = threading.Thread(
        target=lambda: ended.append(predictions.main([str(log), *command])), daemon=True
    )
    with locked(log):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(60)
    assert ended == [0]


@pytest.mark.parametrize("option", ["--by=day", "--since=2026-11-29", "--until=2026-11-29"])
@pytest.mark.parametrize(
    "command",
    [
        ["--id", "request-7"], ["--verify"], ["--compact"], ["--erase-picture", PICTURE],
        ["--remove-before", ""],
    ],
)  # fmt: skip
def test_what_a_command_would_ignore_is_refused(
    log: Path, capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    """`--remove-before` with `--until` may be meant as a range."""
    with pytest.raises(SystemExit) as end:
        predictions.main([str(log), *command, option])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert f"{option.partition('=')[0]}: expected counts, got {command[0]}." in said


def test_a_folder_that_holds_no_log_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do; wrong usage is exit status 2."""
    assert predictions.main([str(tmp_path / "nothing")]) == 1
    assert "--prediction-log DIR" in capsys.readouterr().err
    (tmp_path / "photo.jpg").touch()
    assert predictions.main([str(tmp_path), "--verify"]) == 1
    with pytest.raises(SystemExit) as end:
        predictions.main([str(tmp_path), "--verify", "--csv"])
    assert end.value.code == 2
