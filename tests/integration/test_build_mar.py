"""Registry version -> archive, with the real archiver and a clean interpreter."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import mlflow
import pytest
from iqa.network import checkpoint

from console.paths import ROOT
from scripts.archive import mar_file
from scripts.archive.build import prove
from scripts.build_mar import main
from training.registry import address, model_versions, promotion, tracking


@pytest.fixture(scope="module")
def built(
    empty_store: Path, untrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A registry with version 1, and the store with its archive; (tracking URI, store)."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        address.connect()
        tracking.select_experiment("tests")
        with mlflow.start_run():
            card = checkpoint.load_card(untrained)
            promotion.register("iqa", None, untrained, card)
        model_versions.move_alias("iqa", "staging", "1", "test")
        assert main(["--out", str(folder / "store")]) == 0
    return uri, folder / "store"


@pytest.fixture
def mar(built: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive; its registry is connected."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", built[0])
    return built[1] / "iqa-1.mar"


def test_the_archive_holds_the_handler_folder_the_model_and_its_provenance(mar: Path) -> None:
    """Every file of handler/, graph, weights, card, configuration, stand-in, provenance."""
    with zipfile.ZipFile(mar) as archived:
        members = set(archived.namelist())
        manifest = json.loads(archived.read(mar_file.MANIFEST))
    assert members == {
        *mar_file.source_digests(), "model.onnx", "model.safetensors", "model.json",
        mar_file.PROVENANCE, mar_file.MANIFEST,
    }  # fmt: skip
    assert manifest["model"]["handler"] == "iqa_handler.py"
    assert manifest["model"]["modelVersion"] == "1"
    assert manifest["model"]["configFile"] == "model-config.yaml"


def test_the_provenance_tells_where_everything_came_from(mar: Path) -> None:
    """Version, run, metrics, data, commit of the training, golden scores, digests."""
    provenance = mar_file.read_provenance(mar)
    run_id = model_versions.get("iqa", "1").run_id
    assert provenance["model"] == {"name": "iqa", "version": "1", "run_id": run_id}
    assert provenance["git_commit"] == "0" * 40
    assert provenance["data"]["digests"]["val"] == "b" * 64
    assert {item["file"] for item in provenance["golden"]} == {
        path.name for path in mar_file.golden_pictures()
    }
    assert mar_file.changed_sources(provenance) == []


def test_the_registry_knows_the_archives_digest(mar: Path) -> None:
    """The tag mar_sha256 of the version is the file's."""
    assert model_versions.get("iqa", "1").tags["mar_sha256"] == mar_file.sha256_of(mar)


def test_the_archive_proves_itself_in_a_clean_interpreter(mar: Path) -> None:
    """All of iqa comes out of the archive, though this checkout is installed beside it."""
    proof = prove(mar)
    assert proof["runtime"] == "openvino"
    assert proof["modules"] >= 8


def test_a_second_build_gives_the_same_bytes(mar: Path, tmp_path: Path) -> None:
    """Same version, same handler, same options: same file, wherever it is built."""
    assert main(["--version", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "iqa-1.mar").read_bytes() == mar.read_bytes()


def test_other_bytes_under_the_same_name_are_kept_unless_replaced(
    mar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive of the same name and other content is not overwritten without --replace."""
    other = tmp_path / "iqa-1.mar"
    other.write_bytes(b"something else")
    assert main(["--version", "1", "--out", str(tmp_path)]) == 1
    assert "got other bytes. Add --replace" in capsys.readouterr().err
    assert other.read_bytes() == b"something else"
    assert main(["--version", "1", "--out", str(tmp_path), "--replace"]) == 0
    assert other.read_bytes() == mar.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["iqa-1.mar"]


def _altered(mar: Path, target: Path, name: str, change: bytes) -> Path:
    with zipfile.ZipFile(mar) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.namelist():
            body = source.read(member)
            copy.writestr(member, body + change if member == name else body)
    return target


def test_an_archive_with_an_altered_file_is_not_proven(mar: Path, tmp_path: Path) -> None:
    """One byte more in any file is found."""
    with pytest.raises(ValueError, match=r"iqa/tasks/score_scales.py: expected sha256"):
        prove(_altered(mar, tmp_path / "a.mar", "iqa/tasks/score_scales.py", b"#"))


def test_an_archive_that_scores_differently_is_not_proven(mar: Path, tmp_path: Path) -> None:
    """A golden score that the network does not give is found."""
    with zipfile.ZipFile(mar) as source:
        provenance = json.loads(source.read(mar_file.PROVENANCE))
        provenance["golden"][0]["score"] += 0.1
        with zipfile.ZipFile(tmp_path / "a.mar", "w") as copy:
            for member in source.namelist():
                body = source.read(member)
                if member == mar_file.PROVENANCE:
                    body = json.dumps(provenance).encode()
                copy.writestr(member, body)
    with pytest.raises(ValueError, match="expected the score"):
        prove(tmp_path / "a.mar")


@pytest.mark.usefixtures("mar")
def test_an_unknown_version_or_alias_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written for a version that is not there."""
    assert main(["--version", "12", "--out", str(tmp_path / "store")]) == 1
    assert main(["--alias", "nobody", "--out", str(tmp_path / "store")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert not (tmp_path / "store").exists()


def test_a_changed_handler_is_noticed(mar: Path) -> None:
    """An archive built from other sources than this checkout's names the files."""
    provenance = mar_file.read_provenance(mar)
    provenance["sha256"]["iqa/tasks/score_scales.py"] = "0" * 64
    del provenance["sha256"]["iqa_handler.py"]
    assert mar_file.changed_sources(provenance) == ["iqa/tasks/score_scales.py", "iqa_handler.py"]
    assert (ROOT / "handler" / "iqa" / "tasks" / "score_scales.py").exists()


def test_a_folder_is_built_without_a_registry(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 0, of no run, with the lock that lies there; proven, and the same bytes again."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    folder = Path(shutil.copytree(untrained, tmp_path / "best"))
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    figures = tmp_path / "metrics.json"
    figures.write_text(json.dumps(checkpoint.load_card(folder)))  # it names the weights too
    words = ["--checkpoint", str(folder), "--model-name", "mine", "--evaluated", str(figures)]
    stores = [tmp_path / "one", tmp_path / "two"]
    for store in stores:
        assert main([*words, "--out", str(store)]) == 0
    mars = [store / "mine-0.mar" for store in stores]
    assert mars[0].read_bytes() == mars[1].read_bytes()
    provenance = mar_file.read_provenance(mars[0])
    assert provenance["model"] == {"name": "mine", "version": "0", "run_id": None}
    assert provenance["sha256"]["dvc.lock"] == mar_file.sha256_of(folder / "dvc.lock")
    assert mar_file.changed_sources(provenance) == []
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--evaluated", "FIGURES"], "expected the figures of weights"),
        (["--precision", "bf16"], "--checkpoint: expected float32"),
        (["--data-dir", "data"], "--checkpoint: expected float32"),
        (["--checkpoint", "FOLDER/none"], "model.json"),
    ],
)
def test_a_folder_that_cannot_be_built_is_one_line(
    more: list[str],
    said: str,
    untrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Figures of other weights, another precision, no checkpoint: nothing is written."""
    figures = tmp_path / "metrics.json"
    figures.write_text('{"weights_sha256": "other"}')
    places = {"FIGURES": str(figures), "FOLDER/none": str(tmp_path / "none")}
    more = [places.get(word, word) for word in more]
    words = ["--checkpoint", str(untrained), "--out", str(tmp_path / "store"), *more]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_figures_are_for_a_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A registered version has its figures in the registry."""
    assert main(["--evaluated", str(tmp_path / "metrics.json")]) == 1
    assert "--evaluated: expected it with --checkpoint" in capsys.readouterr().err
