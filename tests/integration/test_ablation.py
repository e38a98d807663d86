"""`training.ablation`: each change against the recipe, on validation alone; real training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from iqa.network import checkpoint

from training import ablation
from training.data import demo_sets
from training.experiments import ablation_rows
from training.experiments.ablation import QUALITY_ELSEWHERE_FILE, QUALITY_FILE
from training.loop.config import TrainConfig

Ablation = Callable[..., int]


@pytest.fixture
def run_ablation(demo: Path, tmp_path: Path, store: str) -> Ablation:
    """Run the command on the tiny set, with a tracking database of the test's own."""
    small = ["--crop-px", "64", "--area-px", "12288", "--batch-size", "8", "--workers", "0"]
    where = ["--data-dir", str(demo), "--out", str(tmp_path / "ablation"), "--epochs", "1"]

    def run(*options: str) -> int:
        start = [] if "--weights" in options else ["--weights", "none"]
        return ablation.main([*where, *start, *small, *options])

    return run


def test_each_change_is_compared_with_the_recipe_and_nothing_is_registered(
    run_ablation: Ablation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table and a plot, also in MLflow; a second call trains what is new; each has its area."""
    folder = tmp_path / "ablation"
    assert run_ablation("--changes", "squared error:loss=mse") == 0
    record = json.loads((folder / "sweep.json").read_text())
    assert list(record["cells"]) == [ablation_rows.RECIPE, ablation_rows.MIRRORED, "squared error"]
    assert record["cells"]["squared error"]["changes"] == {"loss": "mse"}
    recipe, changed = (
        np.load(folder / record["cells"][name]["folder"] / QUALITY_FILE)
        for name in (ablation_rows.RECIPE, "squared error")
    )
    assert recipe.shape == changed.shape
    assert not np.array_equal(recipe, changed)
    told = capsys.readouterr().out
    assert "| squared error | " in told
    assert _area_px(folder / "the-recipe") == _area_px(folder / "squared-error") == 12288
    began = [cell["run_id"] for cell in record["cells"].values()]

    calm = "calm:lr=1e-5,dropout=0,area_px=9216"
    assert run_ablation("--changes", "squared error:loss=mse", calm) == 0
    record = json.loads((folder / "sweep.json").read_text())
    assert [cell["run_id"] for cell in record["cells"].values()][:3] == began
    assert _area_px(folder / "calm") == 9216
    table = pd.read_csv(folder / "ablation.csv")
    assert table["name"][0] == ablation_rows.RECIPE
    assert set(table["name"]) == set(record["cells"])
    assert list(table["d_srocc"][1:]) == sorted(table["d_srocc"][1:], reverse=True)
    assert (folder / "ablation.svg").stat().st_size > 1000
    client = mlflow.MlflowClient()
    assert client.search_registered_models() == []
    children = {cell["run_id"] for cell in record["cells"].values()}
    assert len(children) == 3
    for run_id in children:
        run = client.get_run(run_id)
        assert run.data.tags["mlflow.parentRunId"] == record["parent_run_id"]
        assert not [name for name in run.data.metrics if "test" in name]
    logged = {item.path for item in client.list_artifacts(record["parent_run_id"])}
    assert logged == {"ablation.csv", "ablation.md", "ablation.svg"}


def _area_px(folder: Path) -> int:
    return checkpoint.policy_of(checkpoint.load_card(folder / "best")).area_px


def test_another_recipe_in_the_same_folder_is_refused(
    run_ablation: Ablation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of two recipes in one table would compare nothing."""
    assert run_ablation("--changes", "squared error:loss=mse") == 0
    assert run_ablation("--changes", "squared error:loss=mse", "--lr", "1e-5") == 1
    assert "expected the settings that this sweep began with (lr=0.0003)" in capsys.readouterr().err
    assert run_ablation("--changes", "squared error:loss=mse+rank") == 1
    assert "expected 'squared error' to be {'loss': 'mse'}" in capsys.readouterr().err
    assert run_ablation("--changes", "squared error:loss=mse", "--image-size", "64", "64") == 1
    assert "--image-size: expected it for data of classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["mse", "mse:", "mse:loss", "mse:loss=l1", "x:lr=fast", "x:lr=-1", "x:nothing=1",
     "x:resume=True", "x:dataset=csv", "x:keep_head=maybe"],
)  # fmt: skip
def test_a_change_that_cannot_be_read_is_wrong_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said at once, with an example."""
    with pytest.raises(SystemExit, match="2"):
        ablation.main(["--changes", text])
    assert "expected NAME:SETTING=VALUE, e.g. 'MSE alone:loss=mse'" in capsys.readouterr().err


def test_a_setting_that_is_on_or_off_is_read_as_said() -> None:
    """False is off: `bool("False")` is True."""
    for text, is_on in (("False", False), ("true", True)):
        variant = ablation_rows.Variant.parse(f"x:weights=w.safetensors,keep_head={text}")
        assert variant.changes["keep_head"] is is_on


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["rates * 3:lr=9e-4", "rates / 3:lr=1e-4"], "got 'rates / 3' beside 'rates * 3'"),
        (["Calm:lr=1e-4"], "got 'Calm' beside 'calm'"),
        (["***:lr=1e-4"], "got '***' beside 'no letter or digit'"),
        (["x:lr=1e-4", "x:lr=1e-3"], "expected 'x' to be {'lr': '0.0001'}, got {'lr': '0.001'}"),
        (["calm:lr=1e-4"], "expected 'calm' to be {'lr': '1e-05'}, got {'lr': '0.0001'}"),
        (["the recipe:lr=1e-4"], "expected 'the recipe' to be as it is"),
    ],
)
def test_a_row_is_never_another_variants(changes: list[str], message: str) -> None:
    """Names that share a folder, and a name that stood for another change, are refused."""
    variants = [ablation_rows.Variant.parse(text) for text in changes]
    finished = {"calm": {"changes": {"lr": "1e-05"}}}
    with pytest.raises(ValueError, match=re.escape(message)):
        ablation_rows.expect_own_rows(variants, finished)
    ablation_rows.expect_own_rows([ablation_rows.Variant("calm", {"lr": 1e-5})], finished)


def test_every_change_that_is_tried_by_default_is_another_recipe() -> None:
    """None repeats the defaults, and no name is there twice."""
    variants = [ablation_rows.Variant.parse(text) for text in ablation_rows.CHANGES]
    assert len({variant.name for variant in variants}) == len(variants)
    recipe = TrainConfig()
    for variant in variants:
        for key, value in variant.changes.items():
            assert getattr(recipe, key) != value, variant


def test_a_set_that_is_left_out_is_compared_on_and_not_trained_on(
    run_ablation: Ablation, tmp_path: Path, demo: Path
) -> None:
    """Rows are of the images left out; MLflow knows which images were for what."""
    labels = pd.read_csv(demo / demo_sets.RATINGS_FILE)
    names = labels.loc[labels["set"] != "test", "image_name"]
    patterns = ("*-[234].jpg", "*-coffee-*")
    out = [name for name in names if any(fnmatchcase(name, one) for one in patterns)]
    assert 5 < len(out) < len(names) - 5
    assert run_ablation("--changes", "calm:lr=1e-5", "--leave-out", *patterns) == 0
    folder = tmp_path / "ablation"
    record = json.loads((folder / "sweep.json").read_text())
    for cell in record["cells"].values():
        assert len(np.load(folder / cell["folder"] / QUALITY_ELSEWHERE_FILE)) == len(out)
    run = mlflow.get_run(record["cells"]["calm"]["run_id"])
    rows = {
        item.tags[0].value: json.loads(item.dataset.profile)["num_rows"]
        for item in run.inputs.dataset_inputs
    }
    assert rows["left_out"] == len(out)
    assert rows["train"] + rows["val"] + len(out) == len(names)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*none", "which 0 names are of. Write * for anything."),
        ("*", "expected at least 2 images left in each split, got train 0, val 0"),
    ],
)
def test_a_set_that_cannot_be_left_out_is_refused(
    run_ablation: Ablation, capsys: pytest.CaptureFixture[str], pattern: str, words: str
) -> None:
    """With names that are there; before anything is trained."""
    assert run_ablation("--changes", "calm:lr=1e-5", "--leave-out", pattern) == 1
    assert words in capsys.readouterr().err
