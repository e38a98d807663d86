"""`training.sweep`: cells, continuation, leaderboard, alias; real MLflow, real training."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from tests.labelled import write
from training import sweep
from training.loop.run_state import STATE_FILE

SHORT = "mobilenet_v2:1e-3:1"
LONG = "mobilenet_v2:3e-4:4"

Sweep = Callable[..., int]


@pytest.fixture
def run_sweep(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Run the command on the tiny set, with a tracking database of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    small = ["--weights", "none", "--crop-px", "64", "--area-px", "12288", "--batch-size", "8",
             "--workers", "0"]  # fmt: skip
    where = ["--data-dir", str(demo), "--out", str(tmp_path / "sweep")]

    def run(*options: str) -> int:
        return sweep.main([*where, *small, *options])

    return run


def runs() -> list[mlflow.entities.Run]:
    """Return all runs in the test's tracking database."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("iqa")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_an_interrupted_sweep_continues_and_ranks_its_cells(
    run_sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Ctrl-C in the second cell loses nothing: the same command trains only the rest.

    Then two versions, one parent and two child runs exist, the leaderboard ranks both cells by
    validation SROCC on disk and in MLflow, and only the best version gets the alias.
    """
    folder = tmp_path / "sweep"
    second_state = folder / "mobilenet_v2-0.0003-4" / STATE_FILE
    command = ("--cells", SHORT, LONG, "--alias", "staging")

    def interrupt_second_cell() -> None:
        deadline = time.monotonic() + 200
        while not second_state.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_second_cell)
    watcher.start()
    status = run_sweep(*command)
    watcher.join()
    assert status == 130
    assert second_state.exists()
    client = mlflow.MlflowClient()
    record = json.loads((folder / "sweep.json").read_text())
    assert list(record["cells"]) == ["mobilenet_v2:0.001:1"]
    assert client.get_run(record["parent_run_id"]).info.status == "KILLED"
    capsys.readouterr()

    assert run_sweep(*command) == 0

    record = json.loads((folder / "sweep.json").read_text())
    parent_id = record["parent_run_id"]
    assert list(record["cells"]) == ["mobilenet_v2:0.001:1", "mobilenet_v2:0.0003:4"]
    assert [cell["version"] for cell in record["cells"].values()] == ["1", "2"]
    assert not second_state.exists()

    children = {run.info.run_id for run in runs() if run.data.tags.get("mlflow.parentRunId")}
    assert {run.info.run_id for run in runs()} == {parent_id, *children}
    assert children == {cell["run_id"] for cell in record["cells"].values()}
    assert all(run.info.status == "FINISHED" for run in runs())

    table = pd.read_csv(folder / "leaderboard.csv")
    assert list(table["rank"]) == [1, 2]
    assert table["val_srocc"].is_monotonic_decreasing
    artifacts = {item.path for item in client.list_artifacts(parent_id)}
    assert {"leaderboard.csv", "leaderboard.md", "leaderboard.svg"} <= artifacts
    best_row = (folder / "leaderboard.md").read_text().splitlines()[2]
    assert f"| mobilenet_v2 | none | {table['lr'][0]:g} |" in best_row
    assert f"{table['val_srocc'][0]:.4f} | {table['test_srocc'][0]:.4f} [" in best_row
    best = str(table["version"][0])
    assert str(client.get_model_version_by_alias("iqa", "staging").version) == best
    output = capsys.readouterr().out
    assert "val SROCC" in output
    assert f"next: python -m scripts.build_mar --model-name iqa --version {best}" in output


def test_a_finished_sweep_trains_nothing_and_refuses_other_settings(
    run_sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again only reports; another seed or other weights are refused by name."""
    assert run_sweep("--cells", SHORT) == 0
    assert run_sweep("--cells", SHORT) == 0
    assert len(runs()) == 2
    capsys.readouterr()
    assert run_sweep("--cells", SHORT, "--seed", "1") == 1
    assert "began with (seed=0), got seed=1. Give the same" in capsys.readouterr().err
    assert run_sweep("--cells", SHORT, "--weights-of", "mobilenet_v2=imagenet") == 1
    assert "weights=none" in capsys.readouterr().err


def test_missing_weights_are_refused_before_the_first_cell(
    run_sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong file for the last backbone is an error at once, not after hours of the first."""
    command = ("--cells", SHORT, "resnet18:1e-3:1", "--weights-of", "resnet18=no/such/file")
    assert run_sweep(*command) == 1
    assert "no/such/file" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--cells", "vgg16:1e-3:1"],
        ["--cells", "resnet18:1e-3"],
        ["--cells", "resnet18:0:3"],
        ["--weights-of", "resnet18"],
        ["--lr", "1e-3"],
        ["--resume"],
    ],
)
def test_wrong_usage_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown backbones, incomplete cells and options that the sweep sets itself exit with 2."""
    with pytest.raises(SystemExit) as stopped:
        sweep.main(wrong)
    assert stopped.value.code == 2


def test_the_default_is_the_nine_experiments() -> None:
    """Three backbones times three settings, each once."""
    assert len(set(sweep.ALL_CELLS)) == 9
    assert {(cell.lr, cell.epochs) for cell in sweep.ALL_CELLS} == {(1e-3, 3), (3e-4, 5), (1e-4, 6)}
    assert all(sweep.Cell.parse(str(cell)) == cell for cell in sweep.ALL_CELLS)


@pytest.mark.usefixtures("store")
def test_classes_are_ranked_by_accuracy_and_small_networks_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of classes, one small network and one backbone; the alias goes to the better."""
    images, folder = write(tmp_path / "shapes"), tmp_path / "sweep"
    command = [
        "--dataset", "imagefolder", "--data-dir", str(images), "--out", str(folder),
        "--image-size", "28", "28", "--channels", "L", "--workers", "0", "--device", "cpu",
        "--optimizer", "sgd", "--head-lr-factor", "1", "--batch-size", "15", "--dropout", "0",
        "--precision", "f32", "--alias", "staging", "--weights-of", "mobilenet_v2=none",
        "--cells", "mobilenet_v2:1e-3:1", "residual_small:5e-2:4",
    ]  # fmt: skip
    assert sweep.main(command) == 0
    table = pd.read_csv(folder / "leaderboard.csv")
    assert list(table["backbone"]) == ["residual_small", "mobilenet_v2"]
    assert list(table["starts_from"]) == ["none", "none"]
    assert table["test_accuracy"][0] >= 0.9 and table["val_accuracy"].is_monotonic_decreasing
    assert (table["minutes"] >= 0).all()
    best = mlflow.MlflowClient().get_model_version_by_alias("imagefolder", "staging")
    assert str(best.version) == str(table["version"][0]) and best.tags["task"] == "classes"
    output = capsys.readouterr().out
    assert "val ACCURACY" in output and "MACRO_F1" in output
    assert f"--model-name imagefolder --version {best.version}" in output
