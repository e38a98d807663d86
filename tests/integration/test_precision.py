"""Graphs of lower precision: made from pictures, held to the gate, stored, repeated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from iqa.network import checkpoint, runtime

from scripts import build_mar
from scripts.archive import mar_file
from tests.quick import Quick
from training.data import ratings
from training.data.config import DataConfig
from training.graph import precision
from training.graph.precision import Gate
from training.registry import address, model_versions, promotion, tracking
from training.registry.pretrained import PRETRAINED

GOOD = Gate(
    precision="bf16", pictures=1000, validation_digest="d", weights_sha256="w", graph_sha256={},
    metric="srocc", value_f32=0.85, value=0.849, max_points=0.5, share_within=0.995, points_p99=0.4,
)  # fmt: skip


@pytest.fixture(scope="module")
def shipped(empty_store: Path, quick: Quick, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry whose version 1 is the shipped network with a small input, no graphs; its URI."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        address.connect()
        with tracking.run("tests", "shipped", None, None) as run_id:
            card = checkpoint.load_card(quick.checkpoint)
            promotion.register("iqa", run_id, quick.checkpoint, card)
        model_versions.move_alias("iqa", "staging", "1", "test")
    return uri


@pytest.fixture
def rated_options(rated: Path, shipped: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's options for sixty rated pictures; the registry is connected."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shipped)
    monkeypatch.setattr(precision, "CALIBRATION_PICTURES", {"bf16": 8, "int8": 8})
    return ["--dataset", "koniq10k", "--data-dir", str(rated)]


def test_a_graph_that_was_never_made_needs_pictures(
    rated_options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what to give; nothing is built."""
    assert build_mar.main(["--precision", "bf16", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "precision bf16: expected rated pictures" in told
    assert "--data-dir" in told
    assert list(tmp_path.iterdir()) == []


def test_what_changes_the_scores_too_much_is_refused_with_both_numbers(
    rated_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gate is asked before anything is packed."""
    monkeypatch.setattr(precision, "MAX_POINTS", {"bf16": 1e-6, "int8": 1e-6})
    assert build_mar.main(["--precision", "bf16", "--out", str(tmp_path), *rated_options]) == 1
    told = capsys.readouterr().err
    assert "expected the scores of float32, got SROCC" in told
    assert "scores within" in told
    assert list(tmp_path.iterdir()) == []
    assert "mar_precision" not in model_versions.get("iqa", "1").tags


def test_a_graph_that_fails_on_a_golden_picture_is_not_kept(
    rated_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It passed its gate, but a later build must not find it and fail again."""
    # Seven synthetic pictures, and three photographs that may not move at all.
    monkeypatch.setattr(precision, "MIN_SHARE_WITHIN", 0.0)
    monkeypatch.setattr(precision, "MAX_DROP", 1.0)
    monkeypatch.setattr(precision, "MAX_POINTS", {"bf16": 0.0})
    options = ["--precision", "bf16", "--out", str(tmp_path)]
    assert build_mar.main([*options, *rated_options]) == 1
    told = capsys.readouterr().err
    assert "expected the score" in told and "use --precision f32" in told
    assert build_mar.main(options) == 1
    assert "precision bf16: expected rated pictures" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_the_next_fastest_where_one_fails_on_a_golden_picture(
    rated_options: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It passed its gate, was the fastest, and is wrong here: the archive is built without it."""
    monkeypatch.setattr(precision, "MIN_SHARE_WITHIN", 0.0)
    monkeypatch.setattr(precision, "MAX_DROP", 2.0)  # without VNNI the order may turn round
    monkeypatch.setattr(precision, "MAX_POINTS", {"bf16": 0.0, "int8": 0.0})
    monkeypatch.setattr(runtime, "has_bf16", lambda: False)  # its graph takes a minute
    times_ms = {"int8": 1.0, "f32": 2.0}
    monkeypatch.setattr(precision, "ms_per_picture", lambda graph, _: times_ms[graph.precision])
    with caplog.at_level("INFO"):
        assert build_mar.main(["--precision", "auto", "--out", str(tmp_path), *rated_options]) == 0
    assert mar_file.read_provenance(tmp_path / "iqa-1.mar")["precision"] == "f32"
    assert "int8 is not taken, the next fastest is: graph: expected the score" in caplog.text
    assert build_mar.main(["--out", str(tmp_path)]) == 0


def test_every_third_picture_that_rounds_a_graph_is_damaged(
    rated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are the rated ones as they are; for INT8 all of them."""
    monkeypatch.setattr(precision, "CALIBRATION_PICTURES", {"bf16": 7, "int8": 7})
    split = ratings.load(DataConfig(dataset="koniq10k", data_dir=rated)).split("train")
    plain, mixed = (precision._calibration_pictures(split, name) for name in ("int8", "bf16"))
    is_same = [torch.equal(one, other) for one, other in zip(plain, mixed, strict=True)]
    assert is_same == [False, True, True, False, True, True, False]
    again = precision._calibration_pictures(split, "bf16")
    assert all(torch.equal(one, other) for one, other in zip(mixed, again, strict=True))


def test_auto_packs_what_passes_and_a_later_build_repeats_it_without_pictures(
    rated_options: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The table is printed, the choice is a tag, the graph is stored: same bytes again."""
    first, second = tmp_path / "first", tmp_path / "second"
    # The real bounds are for a thousand photographs; seven synthetic ones change places easily.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "MAX_DROP", 1.0)
        patch.setattr(precision, "MAX_POINTS", {"bf16": 5.0, "int8": 1e-6})
        with caplog.at_level("INFO"):
            assert build_mar.main(["--precision", "auto", "--out", str(first), *rated_options]) == 0
    mar = first / "iqa-1.mar"
    provenance = mar_file.read_provenance(mar)
    chosen = model_versions.get("iqa", "1").tags["mar_precision"]
    assert provenance["precision"] == chosen != "int8"
    for line in ("f32", "int8", "ms a picture", ": refused"):
        assert line in caplog.text
    assert mar.stat().st_size < 12_000_000
    assert build_mar.main(["--out", str(second)]) == 0
    assert (second / "iqa-1.mar").read_bytes() == mar.read_bytes()


def test_float32_holds_the_weights_once(rated_options: list[str], tmp_path: Path) -> None:
    """Graph and torch weights together stay under the limit, and both runtimes open them."""
    assert build_mar.main(["--precision", "f32", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "iqa-1.mar").stat().st_size < 12_000_000
    assert mar_file.read_provenance(tmp_path / "iqa-1.mar")["gate"] is None


@pytest.mark.parametrize(
    ("change", "passes"),
    [({}, True), ({"value": 0.8479}, False), ({"share_within": 0.9899}, False),
     ({"value": 0.86}, True)],
)  # fmt: skip
def test_both_bounds_count(change: dict[str, float], passes: bool) -> None:
    """Ranking and scores are asked for separately; a better ranking is no reason to refuse."""
    gate = Gate(**{**GOOD.__dict__, **change})
    assert gate.passed is passes


def test_a_stored_graph_that_was_altered_or_belongs_to_other_weights_is_refused(
    tmp_path: Path,
) -> None:
    """The gate's record names the graph's bytes and the weights."""
    shutil.copytree(PRETRAINED / "precision" / "bf16", tmp_path / "bf16")
    sha256 = checkpoint.load_card(PRETRAINED)["weights_sha256"]
    assert precision.read_gate(tmp_path / "bf16", sha256).passed
    with pytest.raises(ValueError, match="expected a graph of the weights"):
        precision.read_gate(tmp_path / "bf16", "0" * 64)
    with (tmp_path / "bf16" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"bf16/model.onnx: expected sha256"):
        precision.read_gate(tmp_path / "bf16", sha256)


def test_the_shipped_graph_is_of_the_shipped_weights_and_passed() -> None:
    """Whoever trains a new shipped model makes its graphs anew."""
    sha256 = checkpoint.load_card(PRETRAINED)["weights_sha256"]
    gate = precision.read_gate(PRETRAINED / "precision" / "bf16", sha256)
    assert gate.passed
    assert gate.pictures == 995
