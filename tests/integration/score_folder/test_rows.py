"""What a scored folder says of each image: as CSV, Parquet, JSON, and of an object store."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import pyarrow.parquet as pq
import pytest
from iqa.errors import ImageRejected
from iqa.imaging.decoding import decode
from iqa.network.runtime import open_runtime
from iqa.tasks.score_scales import ScoreScale
from moto.server import ThreadedMotoServer

from scripts.batch import model
from tests.folder_scoring import COLUMNS, GOLDEN, TOLERANCE, rows_of, score
from tests.odd_inputs import ODD_INPUTS
from tests.ports import free_port


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
