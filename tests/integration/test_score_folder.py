"""Scoring a folder: the real command with its real worker processes, on the shipped model."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pyarrow.parquet as pq
import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from iqa.network.runtime import open_runtime
from iqa.tasks.score import ScoreScale
from moto.server import ThreadedMotoServer
from PIL import Image

from console.paths import ROOT
from scripts.batch import model, pool
from scripts.batch.pool import WorkerPool
from tests.images import ODD_INPUTS
from tests.ports import free_port

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
TOLERANCE = 0.01  # of a point
COLUMNS = [
    "filename", "score", "label", "interval_low", "interval_high", "coverage", "cause_blur",
    "cause_noise", "cause_compression", "main_cause", "familiarity", "width", "height", "format",
    "warnings", "reason", "message", "model_version", "model_precision", "model_sha256",
]  # fmt: skip
TIMEOUT_S = 240.0


def command(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command as a person would."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.score_folder", *map(str, words)],
        cwd=ROOT, env={**os.environ, **environment}, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def score(*words: object, **environment: str) -> tuple[int, str]:
    """Run the command to its end; return its exit status and what it says."""
    process = command(*words, **environment)
    _, said = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, said


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden photographs and every odd input, some of them in a folder below."""
    top = tmp_path_factory.mktemp("images")
    (top / "below").mkdir()
    for path in GOLDEN:
        shutil.copy(path, top / path.name)
    for name, odd in ODD_INPUTS.items():
        (top / "below" / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.jpg").write_bytes(odd.body)
    return top


@pytest.fixture(scope="module")
def scored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder's rows as CSV."""
    out = tmp_path_factory.mktemp("scored") / "scores.csv"
    status, said = score(folder, "--out", out)
    assert status == 0, said
    return out


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Thirty images: links to the golden ones."""
    return _links(tmp_path / "few", 30)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Too many to be done before this process, on a busy machine, can interrupt it."""
    return _links(tmp_path / "many", 600)


def test_each_row_says_what_decode_and_graph_say(folder: Path, scored: Path) -> None:
    """Scores, sizes, formats and warnings are those of `iqa`; refusals have its reason."""
    card = json.loads((model.PRETRAINED / model.CARD).read_text())
    scale = ScoreScale.of_card(card)
    graph = scored.parent / "graph"
    model.open_model("shipped", "cpu", graph)
    runtime = open_runtime(graph, "openvino")
    rows = rows_of(scored)
    assert list(rows[0]) == COLUMNS
    refusals = 0
    for row in rows:
        body = (folder / row["filename"]).read_bytes()
        try:
            decoded = decode(body)
            expected = scale.score(float(runtime.outputs(decoded.pixels()[None])[0]))
        except ImageRejected as rejection:
            assert (row["reason"], row["message"]) == (rejection.reason, str(rejection))
            assert not row["score"]
            refusals += 1
            continue
        assert abs(float(row["score"]) - expected) <= TOLERANCE, row
        assert (int(row["width"]), int(row["height"])) == decoded.size
        assert set(decoded.warnings) <= set(row["warnings"].split())
        assert not row["reason"] and row["model_version"] == "shipped"
    assert refusals > 5 and len(rows) - refusals > 20


def test_rows_are_in_the_order_of_the_listing(folder: Path, scored: Path) -> None:
    """The folder's own files by name, then those below."""
    own = [path.name for path in GOLDEN]
    below = sorted(path.name for path in (folder / "below").iterdir())
    assert [row["filename"] for row in rows_of(scored)] == own + [f"below/{b}" for b in below]


def test_the_other_formats_hold_the_same_rows(folder: Path, scored: Path, tmp_path: Path) -> None:
    """JSON lines and Parquet; numbers are numbers in both, and nothing is left behind."""
    as_jsonl, as_parquet = tmp_path / "scores.jsonl", tmp_path / "scores.parquet"
    assert score(folder, "--out", as_jsonl)[0] == 0
    # By the names of a container's options.
    words = ["--input_path", folder, "--output_path", as_parquet, "--batch_size", 3]
    assert score(*words, "--device", "cpu")[0] == 0
    lines = [json.loads(line) for line in as_jsonl.read_text().splitlines()]
    assert pq.read_table(as_parquet).to_pylist() == lines
    told = [{key: "" if v is None else str(v) for key, v in line.items()} for line in lines]
    assert told == rows_of(scored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.jsonl", "scores.parquet"]


def test_neither_torch_nor_mlflow_nor_torchserve_is_imported(few: Path, tmp_path: Path) -> None:
    """It runs where importing any of them fails, without Java and without a server."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("torch", "torchvision", "mlflow", "ts", "model_archiver", "pandas", "scipy"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not to be had')\n")
    out = tmp_path / "scores.csv"
    status, said = score(few, "--out", out, PYTHONPATH=str(blocked))
    assert status == 0, said
    assert len(rows_of(out)) == 30
    status, said = score(few, "--out", tmp_path / "b.csv", "--model", "x", PYTHONPATH=str(blocked))
    assert (status, "expected MLflow, which knows the alias" in said) == (1, True), said


def test_killed_at_any_moment_it_goes_on_to_the_same_result(few: Path, tmp_path: Path) -> None:
    """By kill -9 of the command, five times: the output is always whole, in the end the same."""
    undisturbed, out = tmp_path / "undisturbed.csv", tmp_path / "scores.csv"
    assert score(few, "--out", undisturbed)[0] == 0
    moments = random.Random(0)
    lengths = []
    for _ in range(5):
        process = command(few, "--out", out, "--workers", 1)
        _wait_for_rows(process, out, moments.randrange(1, 9))
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        if out.exists():
            assert undisturbed.read_bytes().startswith(out.read_bytes())
        lengths.append(len(_journal(out)))
    assert lengths == sorted(lengths) and lengths[0] < 30
    status, said = score(few, "--out", out)
    assert status == 0, said
    assert out.read_bytes() == undisturbed.read_bytes()
    assert not _run_folder(out).exists()


def test_interrupted_it_leaves_what_it_has_and_says_so(many: Path, tmp_path: Path) -> None:
    """Ctrl-C and `docker stop` (TERM): exit status 130, each row that was done is in the output."""
    out = tmp_path / "scores.jsonl"
    for way in (signal.SIGINT, signal.SIGTERM):
        process = command(many, "--out", out, "--workers", 1)
        _wait_for_rows(process, out, 3)
        process.send_signal(way)
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 130, said
        assert "interrupted; what was finished is kept" in said
        assert len(out.read_text().splitlines()) == len(_journal(out)) >= 3


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
    _wait_for_rows(process, unfinished, 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    status, said = score(GOLDEN[0], "--out", unfinished)
    assert (status, "expected the inputs of its unfinished run" in said) == (1, True), said
    facts = _run_folder(unfinished) / "run.json"
    facts.write_text(facts.read_text().replace('"shipped"', '"7"'))
    status, said = score(many, "--out", unfinished)
    assert (status, "got iqa version shipped" in said) == (1, True), said
    assert len(_journal(unfinished)) >= 1

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
    _wait_for_rows(first, out, 1)
    status, said = score(few, "--out", out)
    assert (status, f"got process {first.pid} still at it" in said) == (1, True), said
    first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 0 and len(rows_of(out)) == 30


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


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server that runs here, with the golden photographs under `in/`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port())
    server.start()
    address = f"http://127.0.0.1:{server._server.server_port}"  # type: ignore[union-attr]
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="photographs")
    for place, path in enumerate(GOLDEN):
        key = f"in/{'below/' if place == 0 else ''}{path.name}"
        client.put_object(Bucket="photographs", Key=key, Body=path.read_bytes())
    client.put_object(Bucket="photographs", Key="in/empty.jpg", Body=b"")
    yield "s3://photographs"
    server.stop()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_an_object_store_is_scored_like_a_folder(bucket: str, scored: Path, tmp_path: Path) -> None:
    """Same scores, same order; objects one by one, a pattern, and one that is not there."""
    out = tmp_path / "scores.csv"
    status, said = score(f"{bucket}/in", "--out", out)
    assert status == 0, said
    rows = rows_of(out)
    names = sorted(path.name for path in GOLDEN[1:])
    assert [row["filename"] for row in rows] == [
        "empty.jpg", *names, f"below/{GOLDEN[0].name}",
    ]  # fmt: skip
    assert rows[0]["reason"] == "empty"
    local = {row["filename"]: row["score"] for row in rows_of(scored)}
    for row in rows[1:]:
        assert abs(float(row["score"]) - float(local[row["filename"].split("/")[-1]])) <= TOLERANCE
    words = [f"{bucket}/in/*.jpg", f"{bucket}/in/below/{GOLDEN[0].name}", tmp_path / "names.txt"]
    (tmp_path / "names.txt").write_text(f"{bucket}/in/gone.jpg\n")
    status, said = score(*words, "--out", tmp_path / "two.csv")
    two = rows_of(tmp_path / "two.csv")
    assert [row["filename"] for row in two[1:-1]] == [
        f"{bucket}/in/{name}" for name in [*names, f"below/{GOLDEN[0].name}"]
    ]
    assert (status, two[-1]["reason"]) == (1, "unreadable")
    status, said = score(f"{bucket}/nothing", "--out", tmp_path / "three.csv")
    assert (status, "expected a folder or a file, got nothing there" in said) == (1, True), said


def _run_folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.run")


def _journal(out: Path) -> list[str]:
    path = _run_folder(out) / "journal.jsonl"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _links(top: Path, n_images: int) -> Path:
    top.mkdir()
    for index in range(n_images):
        (top / f"{index:02}.jpg").symlink_to(GOLDEN[index % len(GOLDEN)])
    return top


def _wait_for_rows(process: subprocess.Popen[str], out: Path, more: int) -> None:
    """Wait until a run has so many rows more than it found."""
    path = _run_folder(out) / "journal.jsonl"
    wanted = (path.read_bytes().count(b"\n") if path.exists() else 0) + more
    deadline = time.monotonic() + TIMEOUT_S
    while not (path.exists() and path.read_bytes().count(b"\n") >= wanted):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
