"""Images that hang or kill, models and packages that are not there."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from typing import Any

from PIL import Image

from scripts.batch import model, pool
from scripts.batch.pool import WorkerPool
from tests.folder_scoring import rows_of, score


def test_an_image_that_hangs_costs_its_row_alone(few: Path, tmp_path: Path) -> None:
    """It is given up after the limit and its worker is replaced; large files are not read."""
    os.mkfifo(tmp_path / "hangs.jpg")  # reading it waits for a writer that never comes
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(40 << 30)
    bomb = io.BytesIO()
    Image.new("1", (8000, 7000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    wanted = [few / "00.jpg", *(tmp_path / n for n in ("hangs.jpg", "large.jpg", "bomb.png"))]
    (tmp_path / "names.txt").write_text("\n".join(map(str, [*wanted, few / "01.jpg"])))
    out = tmp_path / "scores.csv"
    status, said = score(tmp_path / "names.txt", "--out", out, "--limit-s", 3, "--workers", 1)
    assert status == 1, said
    rows = rows_of(out)
    assert [row["reason"] for row in rows] == [
        "", "timeout", "too_many_bytes", "too_many_pixels", "",
    ]  # fmt: skip
    assert "expected it to be scored within 3 s" in rows[1]["message"]
    assert "got 42949672960" in rows[2]["message"]


def test_a_worker_that_dies_is_replaced_and_an_image_that_kills_gets_a_row(
    few: Path, tmp_path: Path
) -> None:
    """One death is nobody's fault: the image is tried again. At the second it gets the row."""
    settings = model.open_model("shipped", "cpu", tmp_path / "model").settings(str(few), "cpu")
    names = sorted(path.name for path in few.iterdir())[:8]
    with WorkerPool(settings, 1, 2, limit_s=60.0) as workers:
        rows: dict[int, dict[str, Any]] = {}
        for index, row in workers.score(iter(enumerate(names))):
            rows[index] = row
            if index == 1:
                workers._workers[0].process.kill()
    assert sorted(rows) == list(range(8)) and all("score" in row for row in rows.values())

    with WorkerPool(settings, 1, 2, limit_s=60.0) as workers:
        workers._crashes[3] = pool.CRASHES - 1
        rows = {}
        for index, row in workers.score(iter(enumerate(names))):
            rows[index] = row
            if index == 2:
                os.kill(workers._workers[0].process.pid, signal.SIGSEGV)
    assert rows[3].get("reason", "crashed") == "crashed"  # unless it was done before the signal
    assert [i for i in range(8) if "score" not in rows[i]] in ([3], [])


def test_a_model_that_cannot_be_opened_is_refused_before_anything_is_written(
    few: Path, tmp_path: Path
) -> None:
    """A damaged archive, a missing one, a device that is not there: one line, exit status 1."""
    out = tmp_path / "scores.csv"
    (tmp_path / "iqa-1.mar").write_bytes(b"PK no")
    for words, expected in (
        (["--model", tmp_path / "iqa-1.mar"], "expected an archive with provenance.json"),
        (["--model", tmp_path / "none.mar"], "expected an archive, found none"),
    ):
        status, said = score(few, "--out", out, *words)
        assert (status, expected in said) == (1, True), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "iqa-1.mar"]
    for words, expected in (
        (["--out", out], "expected at least one INPUT"),
        ([few, "--out", "s3://bucket/scores.csv"], "expected a file of this machine"),
    ):
        status, said = score(*words)
        assert (status, expected in said) == (2, True), said


def test_a_package_that_is_missing_is_named_with_what_to_install(few: Path, tmp_path: Path) -> None:
    """Ray, s3fs and torch are needed for what they do alone, and asked for before anything runs."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    # Found by nobody: what `find_spec` and an import meet where the package is not installed.
    (blocked / "sitecustomize.py").write_text(
        "import sys\nfor name in ('ray', 's3fs', 'torch'):\n    sys.modules[name] = None\n"
    )
    for words, expected in (
        ([few, "--ray", "local"], "scripts/batch/requirements.txt"),
        (["s3://bucket/photographs"], "Install it, e.g. s3fs for s3://"),
        ([few, "--device", "cuda"], "expected the package torch"),
    ):
        status, said = score(*words, "--out", tmp_path / "a.csv", PYTHONPATH=str(blocked))
        assert (status, expected in said) == (1, True), said
        assert len(said.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked", "few"]
