"""`iqa score`: what it prints of a model of scores, of one of classes, and of a refusal."""

from __future__ import annotations

import csv
import io
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
