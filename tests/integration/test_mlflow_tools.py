"""MLflow's own tools on a registered version, where this project is not installed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import iqa
import mlflow
import pandas as pd
import pytest
import requests
import yaml

from console.paths import ROOT
from tests.conftest import make_checkpoint
from tests.integration.test_wheel import link_packages
from tests.ports import free_ports
from training.registry import address, pretrained, tracking
from training.registry.promotion import register

GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
SERVED_S = 240


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store with the shipped model, as a first start registers it."""
    folder = tmp_path_factory.mktemp("tools")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        address.connect()
        tracking.select_experiment("tools")
        pretrained.register("iqa", "staging")
        yield f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def logged(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version's folder, elsewhere."""
    target = tmp_path_factory.mktemp("logged")
    return Path(mlflow.artifacts.download_artifacts("models:/iqa@staging", dst_path=str(target)))


@pytest.fixture(scope="module")
def expected() -> list[float]:
    """The scores of the golden pictures in this process, by the same graph."""
    return [float(score) for score in iqa.load().score([*GOLDEN])]


def test_files_bytes_and_base64_get_the_served_score(uri: str, expected: list[float]) -> None:
    """One row each; a refused one says why, and touches no other."""
    model = mlflow.pyfunc.load_model("models:/iqa@staging")
    text = base64.b64encode(GOLDEN[1].read_bytes()).decode()
    column = [GOLDEN[0].read_bytes(), text, str(GOLDEN[2]), b"none", "no/such.jpg"]
    told = model.predict(pd.DataFrame({"image": column}, index=[3, 1, 4, 2, 9]))
    assert list(told.index) == [3, 1, 4, 2, 9]
    assert list(told["score"][:3]) == pytest.approx(expected, abs=0.01)
    assert told["score"][3:].isna().all()
    assert list(told["reason"].fillna("")) == ["", "", "", "undecodable", "undecodable"]
    low, high = told["interval"].iloc[0]
    assert low < expected[0] < high
    assert told["label"].iloc[0] == iqa.load().score(GOLDEN[0]).label
    signature = model.metadata.signature
    assert signature.inputs.input_names() == ["image"]
    assert {"score", "label", "interval"} <= set(signature.outputs.input_names())


def test_the_input_example_is_scored(uri: str) -> None:
    """What MLflow shows as an example works as one."""
    model = mlflow.pyfunc.load_model("models:/iqa@staging")
    told = model.predict(model.input_example)
    assert 0 <= told["score"].iloc[0] <= 100


def test_nothing_in_a_logged_model_is_pickled(logged: Path) -> None:
    """Weights, graph, JSON, YAML, text and source."""
    kinds = {".safetensors", ".onnx", ".json", ".yaml", ".txt", ".py", ""}
    files = [path for path in logged.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= kinds, [path.name for path in files]
    document = yaml.safe_load((logged / "MLmodel").read_text())
    assert document["flavors"]["python_function"]["loader_module"] == "iqa.local.table"


PREDICT = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
told = model.predict(pd.DataFrame({"image": sys.argv[2:]}))
import iqa
print(json.dumps({"scores": list(told["score"]), "iqa": iqa.__file__,
                  "torch": "torch" in sys.modules}))
"""


def test_a_version_works_in_an_environment_of_its_own_requirements(
    logged: Path, tmp_path: Path, expected: list[float]
) -> None:
    """What its requirements.txt names and what those need, and nothing of this project."""
    venv.create(tmp_path / "venv", symlinks=True)
    pins = (logged / "requirements.txt").read_text().split()
    assert all("==" in pin for pin in pins)
    assert "torch" not in {pin.partition("==")[0] for pin in pins}
    link_packages(tmp_path / "venv", *(pin.partition("==")[0] for pin in pins))
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", PREDICT, logged, *GOLDEN],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["scores"] == pytest.approx(expected, abs=0.01)
    assert Path(told["iqa"]).is_relative_to(logged)
    assert not told["torch"]


def run_mlflow(*arguments: str) -> list[str]:
    """Return the command line of a tool of MLflow."""
    return [sys.executable, "-m", "mlflow", "models", *arguments, "--env-manager", "local"]


def environment(uri: str) -> dict[str, str]:
    """Return the environment of a tool."""
    place = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": place}


def test_mlflow_models_predict(uri: str, tmp_path: Path, expected: list[float]) -> None:
    """A CSV of paths in, JSON out."""
    table, out = tmp_path / "in.csv", tmp_path / "out.json"
    pd.DataFrame({"image": [str(path) for path in GOLDEN]}).to_csv(table, index=False)
    done = subprocess.run(
        run_mlflow("predict", "-m", "models:/iqa@staging", "-t", "csv",
                   "-i", str(table), "-o", str(out)),
        cwd=tmp_path, env=environment(uri), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(out.read_text())["predictions"]
    assert [row["score"] for row in rows] == pytest.approx(expected, abs=0.01)


def test_mlflow_models_serve(uri: str, tmp_path: Path, expected: list[float]) -> None:
    """Base64 in JSON over HTTP."""
    port = next(iter(free_ports().values()))
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            run_mlflow("serve", "-m", "models:/iqa@staging", "-p", port),
            cwd=tmp_path, env=environment(uri), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        text = base64.b64encode(GOLDEN[0].read_bytes()).decode()
        wanted = {"dataframe_split": {"columns": ["image"], "data": [[text]]}}
        reply = _post_when_ready(f"http://127.0.0.1:{port}", wanted, server)
        (row,) = reply["predictions"]
        assert row["score"] == pytest.approx(expected[0], abs=0.01)
        assert row["interval"][0] < row["score"] < row["interval"][1]
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _post_when_ready(url: str, body: dict[str, Any], server: subprocess.Popen[bytes]) -> Any:
    deadline_s = time.monotonic() + SERVED_S
    while time.monotonic() < deadline_s:
        assert server.poll() is None, "the server ended"
        try:
            if requests.get(f"{url}/ping", timeout=5).ok:
                break
        except requests.RequestException:
            pass
        time.sleep(0.5)
    reply = requests.post(f"{url}/invocations", json=body, timeout=60)
    assert reply.ok, reply.text
    return reply.json()


def test_mlflow_models_evaluate(uri: str) -> None:
    """The error against ratings, by MLflow's own evaluator."""
    rated = pd.DataFrame({"image": [str(path) for path in GOLDEN], "mos": [80.0, 80.0, 40.0]})
    with mlflow.start_run():
        result = mlflow.models.evaluate(
            "models:/iqa@staging", rated, targets="mos", predictions="score",
            model_type="regressor", evaluator_config={"log_model_explainability": False},
        )  # fmt: skip
    assert 0 < result.metrics["mean_absolute_error"] < 15


def test_a_version_without_a_graph_is_run_by_torch(uri: str, tmp_path: Path) -> None:
    """As training logs it: the weights, whose requirements name torch."""
    card = json.loads((make_checkpoint(tmp_path / "made") / "model.json").read_text())
    version = register("plain", None, tmp_path / "made", card).version
    model = mlflow.pyfunc.load_model(f"models:/plain/{version}")
    told = model.predict(pd.DataFrame({"image": [str(GOLDEN[0])]}))
    assert told["score"].iloc[0] == pytest.approx(
        iqa.load(tmp_path / "made").score(GOLDEN[0]), abs=0.001
    )
    text = Path(
        mlflow.artifacts.download_artifacts(f"models:/plain/{version}/requirements.txt")
    ).read_text()
    assert "torch==" in text
