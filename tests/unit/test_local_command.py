"""`iqa score`: what it prints of a model of scores, of one of classes, and of a refusal."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from iqa.errors import ImageRejected
from iqa.local import command

IMAGE = {"image": {"width": 64, "height": 48, "format": "PNG"}, "warnings": []}
REPLIES = {
    "score.png": {"score": 61.5, "label": "good", "interval": [54.0, 69.0], **IMAGE},
    "class.png": {"predicted_class": 1, "predicted_label": "dog", "confidence": 0.8, **IMAGE},
}


class Answering:
    """Stands for a model: a reply by the file's name, else a refusal."""

    def predict(self, path: Path) -> dict[str, Any]:
        """See `iqa.local.model.Model`."""
        if path.name not in REPLIES:
            raise ImageRejected("empty", "body: expected an image file, got 0 bytes. Send it.")
        return REPLIES[path.name]


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *form: str
) -> list[str]:
    """Return the lines of `iqa score` for a score, a class and a refusal."""
    monkeypatch.setattr(command, "load", lambda path, threads: Answering())
    assert command.main(["score", "score.png", "class.png", "none.png", *form]) == 1
    return capsys.readouterr().out.splitlines()


def test_lines_have_the_label_of_either_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of classes has no score, and its label is the class."""
    score, named, refused = printed(capsys, monkeypatch)
    assert score.split() == ["61.50", "good", "score.png"]
    assert named.split() == ["dog", "class.png"]
    assert refused.split()[:2] == ["refused", "none.png:"]


def test_csv_has_the_label_of_either_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same column; a refusal has none."""
    lines = printed(capsys, monkeypatch, "--csv")
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert [row["label"] for row in rows] == ["good", "dog", ""]
    assert [row["reason"] for row in rows] == ["", "", "empty"]


def test_a_folder_without_pictures_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what a picture is named like; a folder is none, whatever its name."""
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "notes.txt").touch()
    assert command.main(["score", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: expected pictures (.jpg, ") and "got none" in error


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_reader_who_has_enough_sees_no_traceback(form: list[str], tmp_path: Path) -> None:
    """`iqa score ... | head -1`: the pipe is closed before all is printed."""
    pictures = [f"{number}.jpg" for number in range(5000)]
    program = (
        "import sys; from iqa.local import command\n"
        "class Model:\n"
        "    def predict(self, path):\n"
        "        return {'score': 61.5, 'label': 'good', 'warnings': []}\n"
        "command.load = lambda path, threads: Model()\n"
        "sys.exit(command.main(sys.argv[1:]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "score", *pictures, *form], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
