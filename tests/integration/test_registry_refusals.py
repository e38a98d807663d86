"""Versions of older code, of other flavors, damaged or half gone: what the registry's users say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from iqa.network import checkpoint

from scripts import build_mar
from scripts.rollout.deployment_records import Records
from scripts.server.state import StateDir
from scripts.supervisor.alias_archive import served_archive
from tests.registering import register
from training import evaluate
from training.registry import model_versions


@pytest.mark.parametrize("loader", ["training.flavor", "training.registry.flavor"])
def test_a_version_of_older_code_is_still_loaded(store: str, tmp_path: Path, loader: str) -> None:
    """Its MLmodel names the loader where it lay then; pixels in, outputs out, and no code in it."""
    older = as_logged_before(tmp_path, loader)
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    assert mlflow.pyfunc.load_model(str(older)).predict(pixels).shape == (1,)


def test_a_version_of_older_code_is_downloaded_for_packaging(store: str, tmp_path: Path) -> None:
    """What build_mar asks for is where it always was: registered as such, and byte for byte."""
    older = as_logged_before(tmp_path, "training.registry.flavor")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(older), "older")
    client = mlflow.MlflowClient()
    source = f"{run.info.artifact_uri}/older"
    number = str(client.create_model_version("iqa", source, run.info.run_id).version)
    folder = model_versions.download("iqa", number, tmp_path / "out")
    for name in (checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def as_logged_before(folder: Path, loader: str) -> Path:
    """Return a logged model as it was before it brought its code: checkpoint and MLmodel."""
    registered = register(folder / "a")
    logged = Path(mlflow.artifacts.download_artifacts(f"models:/iqa/{registered.version}"))
    older = folder / "older"
    shutil.copytree(logged / "checkpoint", older / "checkpoint")
    document = yaml.safe_load((logged / "MLmodel").read_text())
    document["flavors"]["python_function"] = {
        "data": "checkpoint", "loader_module": loader, "python_version": "3.11.7",
    }  # fmt: skip
    del document["signature"], document["saved_input_example_info"]
    (older / "MLmodel").write_text(yaml.safe_dump(document))
    return older


def _log_pytorch() -> str:
    """Register a network as somebody else's program does; return its version."""
    with mlflow.start_run():
        info = mlflow.pytorch.log_model(
            torch.nn.Linear(1, 1),
            name="theirs",
            registered_model_name="iqa",
            serialization_format="pickle",
            pip_requirements=[],
        )
    return str(info.registered_model_version)


class _Echo(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return model_input


def _log_pyfunc() -> str:
    """Register plain Python; return its version."""
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="theirs", python_model=_Echo(), registered_model_name="iqa", pip_requirements=[]
        )
    return str(info.registered_model_version)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("log", "flavors"),
    [(_log_pytorch, "python_function, pytorch"), (_log_pyfunc, "python_function")],
)
def test_a_version_of_another_flavor_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: Callable[[], str], flavors: str
) -> None:
    """The flavor that was expected, the ones that came, and what to do: for each command."""
    version = log()
    said = (
        f"model 'iqa' version {version}: expected the flavor iqa, as training.train logs it, got "
        f"{flavors}: another program logged it. Use a version that training.train registered: "
        "python -m scripts.model_info --all lists them, python -m scripts.set_alias moves"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        model_versions.download("iqa", version, tmp_path)
    assert build_mar.main(["--version", version, "--out", str(tmp_path / "store")]) == 1
    assert f"error: {said}" in capsys.readouterr().err
    model = f"models:/iqa/{version}"
    assert evaluate.main(["--model", model, "--data-dir", str(tmp_path)]) == 1
    assert f"error: {said}" in capsys.readouterr().err
    model_versions.move_alias("iqa", "staging", version, "by mistake")
    records = Records(state=StateDir.at(tmp_path / "state"), model_name="iqa")
    with pytest.raises(ValueError, match=re.escape(said)):  # what a start of the server asks
        served_archive("iqa", "staging", tmp_path / "store", records)
    assert list((tmp_path / "store").iterdir()) == []


def _logged(version: str) -> Path:
    """Return the folder of a version's files in an embedded store."""
    uri = f"models:/iqa/{version}/{model_versions.CHECKPOINT}"
    return Path(mlflow.artifacts.download_artifacts(uri)).parent


@pytest.mark.usefixtures("store")
def test_a_version_whose_run_is_deleted_or_that_has_none_is_downloaded_all_the_same(
    tmp_path: Path,
) -> None:
    """The files are the version's own; a run is not needed to pack it."""
    client = mlflow.MlflowClient()
    registered = register(tmp_path / "in")
    files = _logged(registered.version)
    client.delete_run(model_versions.get("iqa", registered.version).run_id)
    without_run = client.create_model_version("iqa", files.as_uri())
    assert not without_run.run_id
    for version in (registered.version, str(without_run.version)):
        folder = model_versions.download("iqa", version, tmp_path / f"out-{version}")
        assert (folder / checkpoint.CARD_FILE).is_file()


@pytest.mark.usefixtures("store")
def test_a_version_whose_files_are_gone_says_where_they_were(tmp_path: Path) -> None:
    """The place, and what became of the run, for whoever has to restore them."""
    client = mlflow.MlflowClient()
    gone = register(tmp_path / "a").version
    shutil.rmtree(_logged(gone))
    run_id = model_versions.get("iqa", gone).run_id
    with pytest.raises(ValueError, match=r"version 1: expected its files in models:/m-\w+, got no"):
        model_versions.download("iqa", gone, tmp_path / "out")
    client.delete_run(run_id)
    with pytest.raises(ValueError, match=f"can read; its run {run_id} was deleted. Use a version"):
        model_versions.download("iqa", gone, tmp_path / "out")
    nowhere = client.create_model_version("iqa", (tmp_path / "nowhere").as_uri()).version
    with pytest.raises(ValueError, match=r"files in file://.*/nowhere, got none .*it has no run"):
        model_versions.download("iqa", str(nowhere), tmp_path / "out")
    half = register(tmp_path / "b").version
    (_logged(half) / model_versions.CHECKPOINT / checkpoint.WEIGHTS_FILE).unlink()
    with pytest.raises(ValueError, match=r"its folder checkpoint, got no model.safetensors\. Use"):
        model_versions.download("iqa", half, tmp_path / "out-half")
    shutil.rmtree(_logged(half) / model_versions.CHECKPOINT)
    with pytest.raises(ValueError, match="expected the folder checkpoint among its files in model"):
        model_versions.download("iqa", half, tmp_path / "out-none")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:100], "model.json: expected a model card, got JSONDecodeError"),
        (lambda text: "[]", "model.json: expected a model card, got TypeError"),
        (lambda text: "\0", "model.json: expected a model card, got JSONDecodeError"),
        (lambda text: text.replace('"format": 2', '"format": 4'), "format: expected 2, got 4"),
        (lambda text: text.replace('"metrics"', '"figures"'), "model.json: expected 'metrics' in"),
        (
            lambda text: text.replace('"weights_sha256": "', '"weights_sha256": "0'),
            "model.safetensors: expected sha256 0",
        ),
    ],
    ids=["cut", "no object", "no text", "another format", "a key is missing", "other weights"],
)
def test_a_damaged_card_is_said_with_the_version(
    tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    """Which version, which file, what is wrong with it, and no folder that is gone by then."""
    version = register(tmp_path / "in").version
    card = _logged(version) / model_versions.CHECKPOINT / checkpoint.CARD_FILE
    altered = change(card.read_text())
    assert altered != card.read_text()
    card.write_text(altered)
    expected = f"^model 'iqa' version 1: {re.escape(said)}.* Use a version that training.train"
    with pytest.raises(ValueError, match=expected) as raised:
        model_versions.download("iqa", version, tmp_path / "out")
    assert str(tmp_path) not in str(raised.value)
