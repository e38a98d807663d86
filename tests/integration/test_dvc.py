"""
The pipelines of dvc.yaml by a real DVC, in clones of this checkout: same bytes, exact reruns.

DVC has an environment of its own. Where it is wanted: scripts/setup_env.sh --dvc
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from console.paths import ROOT
from scripts.archive import mar_file
from tests.labelled import write

DVC = ROOT / ".venv-dvc" / "bin" / "dvc"
SHAPES: dict[str, Any] = {
    "source": "data/shapes",
    "prepare": {},
    "data": {"dataset": "imagefolder"},
    "train": {
        "backbone": "residual_small", "weights": "none", "image-size": [28, 28], "channels": "L",
        "epochs": 2, "lr": 0.05, "optimizer": "sgd", "head-lr-factor": 1.0, "batch-size": 15,
        "workers": 0, "device": "cpu",
    },
    "metric": "accuracy",
    "model": "shapes",
}  # fmt: skip
STAGES = [f"{stage}@shapes" for stage in ("prepare", "train", "evaluate", "package")]
BUILT = Path("build/dvc/shapes")
METRICS = BUILT / "evaluate/metrics.json"
ARCHIVE = BUILT / "package/shapes-0.mar"
OUTPUTS = [
    *(BUILT / "run" / name for name in ("best/model.safetensors", "best/model.json")),
    *(BUILT / "run" / name for name in ("best/dvc.lock", "history.json")),
    METRICS, METRICS.with_suffix(".png"), ARCHIVE,
]  # fmt: skip

# Each waits for eight stages, that is eight times torch and MLflow.
pytestmark = [
    pytest.mark.skipif(not DVC.exists(), reason="dvc is not installed"),
    pytest.mark.timeout(900),
]


class Clone:
    """A clone with a person's data in it."""

    def __init__(self, origin: Path, folder: Path, empty_store: Path | None) -> None:
        self.folder = folder
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))},
            # The clone's own `iqa`: the environment's is this checkout's.
            "PYTHONPATH": str(folder / "handler"),
            **{f"DVC_{kind}_DIR": str(folder.parent / "dvc")
               for kind in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")},
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b", "COLUMNS": "200",
        }  # fmt: skip
        self.run("git", "clone", "--quiet", str(origin), str(folder), cwd=origin)
        if empty_store is not None:  # else nothing is trained here
            (folder / ".venv").symlink_to(sys.prefix)
            with (folder / ".git" / "info" / "exclude").open("a") as file:
                file.write("/.venv\n")
            write(folder / "data" / "shapes")
            write(folder / "data" / "other", seed=1)
            shutil.copyfile(empty_store, folder / "mlflow.db")

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command as a person would; return what it printed."""
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=self._environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"[-6000:]
        return done.stdout

    def dvc(self, *words: str) -> str:
        """Run DVC."""
        return self.run(str(DVC), *words)

    def repro(self, *targets: str) -> list[str]:
        """Bring stages up to date; return those that ran."""
        return re.findall(r"Running stage '(.*?)'", self.dvc("repro", *targets))

    def read(self, path: Path) -> bytes:
        """Return the content of a file."""
        return (self.folder / path).read_bytes()

    def is_clean(self) -> bool:
        """Tell whether git sees nothing that is not committed."""
        return self.run("git", "status", "--porcelain") == ""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Clone:
    """A clone where everything has run, and the lock is committed."""
    origin = tmp_path_factory.mktemp("origin")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, origin / name)
    pipelines = {"shapes": SHAPES, "other": {**SHAPES, "source": "data/other"}}
    (origin / "params.yaml").write_text(yaml.safe_dump({"pipelines": pipelines}))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *words], cwd=origin, check=True)
    clone = Clone(origin, tmp_path_factory.mktemp("first") / "clone", empty_store)
    assert clone.repro("prepare@other", "package@shapes") == ["prepare@other", *STAGES]
    clone.run("git", "add", "dvc.lock")
    clone.run("git", "commit", "--quiet", "-m", "two")
    assert clone.is_clean()  # what the stages write is ignored
    return clone


@pytest.fixture(scope="module")
def second(first: Clone, tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Clone:
    """A clone of the commit that holds the lock, in which everything has run as well."""
    folder = tmp_path_factory.mktemp("second") / "clone"
    clone = Clone(first.folder, folder, empty_store)
    assert clone.repro("package@shapes") == STAGES
    return clone


def test_the_run_names_the_data_and_keeps_the_lock(first: Clone) -> None:
    """The tag is the hash of the prepared data in dvc.lock; the artifact is what made it."""
    lock = yaml.safe_load(first.read(Path("dvc.lock")))["stages"]
    data_hash = lock["prepare@shapes"]["outs"][0]["md5"]
    uri = f"sqlite:///{first.folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    version = client.get_model_version("shapes", "1")
    run = client.get_run(version.run_id)
    assert run.data.tags["dvc_data_hash"] == data_hash and data_hash.endswith(".dir")
    assert run.data.tags["git_is_dirty"] == "false"
    assert run.data.metrics["train_seconds"] >= 0
    kept = {path.name: path for path in (first.folder / "mlartifacts").rglob("dvc.lock")}
    assert yaml.safe_load(kept["dvc.lock"].read_text())["stages"] == {
        "prepare@shapes": lock["prepare@shapes"]
    }
    found = sorted((first.folder / "mlartifacts").rglob("dvc.lock"))
    assert [path.parent.name for path in found] == ["artifacts", "checkpoint"]
    assert len({path.read_text() for path in found}) == 1


def test_the_archive_holds_the_lock_up_to_the_evaluation(first: Clone) -> None:
    """It is among the files that the proof compares, and is no reason to build again."""
    lock = yaml.safe_load(first.read(Path("dvc.lock")))["stages"]
    with zipfile.ZipFile(first.folder / ARCHIVE) as archive:
        held = yaml.safe_load(archive.read("dvc.lock"))["stages"]
    assert held == {name: lock[name] for name in sorted(STAGES[:3])}
    provenance = mar_file.read_provenance(first.folder / ARCHIVE)
    assert "dvc.lock" in provenance["sha256"]
    assert provenance["dvc_data_hash"] == lock["prepare@shapes"]["outs"][0]["md5"]
    assert provenance["model"] == {"name": "shapes", "run_id": None, "version": "0"}
    assert mar_file.changed_sources(provenance) == []


def test_two_clones_give_the_same_bytes(first: Clone, second: Clone) -> None:
    """Each file that a stage makes; git sees no other lock than the committed one."""
    different = [str(path) for path in OUTPUTS if first.read(path) != second.read(path)]
    assert different == []
    assert second.is_clean()


def test_what_is_pushed_can_be_pulled(first: Clone, tmp_path: Path) -> None:
    """A third clone, without data, gets the files of the lock and has nothing to run."""
    first.dvc("remote", "add", "--local", "--force", "--default", "kept", str(tmp_path / "remote"))
    first.dvc("push", "--with-deps", STAGES[-1])
    third = Clone(first.folder, tmp_path / "third", None)
    third.dvc("remote", "add", "--local", "--default", "kept", str(tmp_path / "remote"))
    third.dvc("pull", "--with-deps", STAGES[-1])
    assert [str(path) for path in OUTPUTS if first.read(path) != third.read(path)] == []
    assert third.repro("--single-item", *STAGES[1:]) == []  # the images' source is not here
    assert first.is_clean() and third.is_clean()


def test_one_changed_image_reruns_what_is_behind_it(second: Clone) -> None:
    """The stages of its pipeline, in order, and none of another; the difference is shown."""
    assert second.repro("package@shapes") == []
    second.repro("prepare@other")
    images = second.folder / "data" / "shapes" / "train"
    shutil.copyfile(images / "rings" / "0.png", images / "rings" / "1.png")
    assert second.repro("prepare@other", "package@shapes") == STAGES
    shown = json.loads(second.dvc("metrics", "show", "--json", str(METRICS)))
    measured = json.loads(second.read(METRICS))
    [figures] = shown[""]["data"].values()
    assert figures["data"]["accuracy"] == measured["accuracy"]
    [changed] = json.loads(second.dvc("metrics", "diff", "--json")).values()
    loss = changed["cross_entropy"]
    assert loss["new"] == measured["cross_entropy"]
    assert loss["diff"] == pytest.approx(loss["new"] - loss["old"]) and loss["diff"] != 0
    page = second.folder / "build" / "plots"
    second.dvc("plots", "diff", "--out", str(page), "HEAD")
    assert "shapes, validation" in (page / "index.html").read_text()
    assert len(list(page.rglob("*metrics.png"))) == 2  # before and now


def test_another_setting_reruns_training_and_not_the_data(second: Clone) -> None:
    """DVC compares the options of the stage, and nothing else of the file."""
    file = second.folder / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params["pipelines"]["shapes"]["train"]["lr"] = 0.04
    params["pipelines"]["shapes"]["metric"] = "macro_f1"  # of the plot alone
    file.write_text(yaml.safe_dump(params))
    dry = second.dvc("repro", "--dry", "package@shapes")
    assert re.findall(r"Running stage '(.*?)'", dry) == ["train@shapes"]
