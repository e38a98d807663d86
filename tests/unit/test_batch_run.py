"""A run of `scripts.score_folder` from inputs to output, with a scorer that needs no model."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.batch import output, run
from scripts.batch.model import Model
from scripts.batch.pool import WRITE_BYTES, WorkerPool
from scripts.batch.rows import FILENAME, Row
from scripts.batch.run_folder import Place, reserved
from scripts.server.file_lock import holder_of

SAMPLE = {"score": 1.0, "image": {"width": 1, "height": 1, "format": "JPEG"}, "warnings": []}
MODEL = Model(
    name="iqa",
    version="1",
    sha256="a" * 64,
    folder=Path("model"),
    code=Path("code"),
    limits={"max_bytes": 1, "max_pixels": 1},
)


class Scorer:
    """Gives each image the same score, and may stop before one of them."""

    def __init__(self, score: float, stop_at: str = "") -> None:
        self._score = score
        self._stop_at = stop_at
        self.names: list[str] = []

    def facts(self) -> dict[str, Any]:
        """Return what a worker says of the model."""
        return {"sample": SAMPLE}

    def score(self, entries: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
        """Return a row for each."""
        for index, name in entries:
            if name == self._stop_at:
                raise KeyboardInterrupt
            self.names.append(name)
            yield index, {FILENAME: name, "score": self._score}


def go(out: Path, given: str, score: float = 1.0, stop_at: str = "") -> list[str]:
    """Run once; return the names that were scored."""
    scorer, place = Scorer(score, stop_at), Place(output=out)
    with reserved(place, resume=True), contextlib.suppress(KeyboardInterrupt):
        run.run(place, [given], False, MODEL, True, lambda: contextlib.nullcontext(scorer))
    return scorer.names


def names_in(out: Path) -> list[str]:
    """Return whose rows an output has."""
    return [row[FILENAME] for row in output.read(out)]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of three."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / name).touch()
    return folder


def test_the_next_run_waits_until_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what the first one removes last might be the second one's."""
    place, discard, held = Place(output=tmp_path / "scores.csv"), Place.discard, list[int | None]()

    def watched(self: Place) -> None:
        held.append(holder_of(tmp_path / ".scores.csv.lock"))
        discard(self)

    monkeypatch.setattr(Place, "discard", watched)
    with reserved(place, resume=True):
        pass
    assert held == [os.getpid()] * 2, "before the run and after it"


@pytest.mark.parametrize("n_removed", range(5))
@pytest.mark.parametrize("backwards", [False, True])
def test_an_end_that_is_broken_off_loses_and_doubles_nothing(
    n_removed: int,
    backwards: bool,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed while the run's folder is removed, after any file of it and in either order."""
    out = tmp_path / "scores.csv"
    go(out, str(photographs))
    (photographs / "4.jpg").touch()
    was_here: list[Path] = []

    def broken_off(folder: Path, **_: object) -> None:
        if not (folder / "journal.jsonl").exists() or was_here:  # a killed process comes once
            return
        was_here.append(folder)
        for path in sorted(folder.iterdir(), reverse=backwards)[:n_removed]:
            path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scripts.batch.run_folder.shutil.rmtree", broken_off)
        assert go(out, str(photographs)) == ["4.jpg"]
    assert was_here
    (photographs / "5.jpg").touch()
    assert go(out, str(photographs)) == ["5.jpg"]
    assert names_in(out) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    assert not Place(output=out).folder.exists()


@pytest.mark.parametrize("suffix", output.FORMATS)
def test_any_name_has_one_row_however_often_the_command_is_run(
    suffix: str, photographs: Path, tmp_path: Path
) -> None:
    """A name that is no UTF-8, and one with a line end of each kind."""
    odd = [os.fsdecode(b"\xff.jpg"), "a\rb.jpg", "a\nb.jpg", "a\r\nb.jpg"]
    for name in odd:
        (photographs / name).touch()
    out = tmp_path / f"scores{suffix}"
    assert len(go(out, str(photographs))) == 7
    for _ in range(2):
        assert go(out, str(photographs)) == []
        assert len(names_in(out)) == 7


def test_images_that_have_a_row_by_their_name_are_counted_aloud(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder may be moved and its rows stay; of another folder's images somebody has to know."""
    out, other = tmp_path / "scores.csv", tmp_path / "other"
    go(out, str(photographs))
    other.mkdir()
    for name in ("3.jpg", "4.jpg"):
        (other / name).touch()
    with caplog.at_level(logging.INFO, "scripts.batch.run"):
        assert go(out, str(other)) == ["4.jpg"]
    assert "1 of the images have one, by their name" in caplog.text
    assert "another --out" in caplog.text


def test_names_on_standard_input_are_not_read_for_an_unfinished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on with the names that it has, and says so."""
    out = tmp_path / "scores.csv"
    monkeypatch.setattr("sys.stdin", io.StringIO("a1.jpg\na2.jpg\n"))
    assert go(out, "-", stop_at="a2.jpg") == ["a1.jpg"]
    monkeypatch.setattr("sys.stdin", io.StringIO("b1.jpg\n"))
    with caplog.at_level(logging.INFO, "scripts.batch.run"):
        assert go(out, "-") == ["a2.jpg"]
    assert "standard input is not read" in caplog.text


def test_no_more_is_handed_over_than_a_pipe_holds(tmp_path: Path) -> None:
    """A worker that hangs and reads nothing keeps nobody waiting, however large the batch is."""
    settings = MODEL.settings(str(tmp_path), "cpu")
    entries = ((index, f"a/long/name/of/a/folder/{index:08}.jpg") for index in range(10_000))
    with WorkerPool(settings, n_workers=0, batch_size=4096, limit_s=1.0) as workers:
        batches = [workers._next(entries) for _ in range(3)]
    assert [batch[0][0] for batch in batches[1:]] == [batch[-1][0] + 1 for batch in batches[:-1]]
    assert all(len(batch) > 100 and len(str(batch)) < 2 * WRITE_BYTES for batch in batches)
