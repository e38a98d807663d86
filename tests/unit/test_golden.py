"""When a served version counts as the proven one."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest
from iqa.tasks.classes import Classes
from iqa.tasks.counted_labels import OTHER_LABELS
from iqa.tasks.score_deciles import tenth_of_score

from scripts.archive.golden import OTHER_PRECISION, SAME_PRECISION, NotGolden, golden_of, is_same


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    """An archive with one golden picture."""
    provenance = {
        "precision": "f32",
        "golden": [{"file": "a.jpg", "score": 60.0}],
        "sha256": {"model.onnx": "a"},
    }
    path = tmp_path / "iqa-2.mar"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("provenance.json", json.dumps(provenance))
        packed.writestr("golden/a.jpg", b"picture")
    return path


@pytest.mark.parametrize(
    ("told", "tolerance"),
    [
        ({}, SAME_PRECISION),
        ({"runtime": {"name": "openvino", "precision": "f32"}}, SAME_PRECISION),
        ({"runtime": {"name": "openvino", "precision": "bf16"}}, OTHER_PRECISION),
        ({"runtime": {"name": "openvino", "precision": "int8"}}, OTHER_PRECISION),
    ],
)
def test_the_tolerance_follows_the_precision(
    mar: Path, told: dict[str, object], tolerance: float
) -> None:
    """0.05 of a point at the precision of the scores on record, 1 point at another."""
    assert golden_of(mar, "2", told).tolerance == tolerance


@pytest.mark.parametrize(
    ("code", "score", "version", "words"),
    [
        (200, 60.06, "2", "expected the score 60.00"),
        (200, float("nan"), "2", "expected the score 60.00"),
        (200, 60.0, "1", "expected version 2 to answer, got 1"),
        (503, 60.0, "2", "expected a score, got 503"),
    ],
)
def test_any_other_answer_is_not_golden(
    mar: Path, code: int, score: float, version: str, words: str
) -> None:
    """Another score, no number, another version and an error are refused, and it is said why."""
    golden = golden_of(mar, "2", {})
    with pytest.raises(NotGolden, match=words):
        golden.compare(0, code, {"score": score, "model": {"version": version}})
    assert golden.compare(0, 200, {"score": 60.04, "model": {"version": "2"}}) < SAME_PRECISION


def test_a_loaded_version_is_told_by_the_digests_of_its_files(mar: Path) -> None:
    """What the handler adds to its provenance does not count; no answer is no proof."""
    assert is_same(mar, {"sha256": {"model.onnx": "a"}, "runtime": {"precision": "f32"}})
    assert not is_same(mar, {"sha256": {"model.onnx": "b"}})
    assert not is_same(mar, {})


def test_a_golden_class_is_counted_as_workers_count_it(mar: Path) -> None:
    """In plain characters, and from the hundredth class on as one of the others."""
    names = ["tench, Tinca tinca", *(f"species {number}" for number in range(150))]
    with zipfile.ZipFile(mar, "a") as packed:
        packed.writestr("model.json", json.dumps({"class_names": names}))
    golden = dataclasses.replace(golden_of(mar, "2", {}), task=Classes())
    counted = [golden.counted_as({"predicted_label": name}) for name in (names[0], names[150])]
    assert counted == ["tench_ Tinca tinca", OTHER_LABELS]
    assert golden.counted_as({"score": 61.0, "label": "Good"}) == tenth_of_score(61.0)
