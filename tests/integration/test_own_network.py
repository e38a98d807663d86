"""A user's own network, and timm's: trained, refused, loaded again, built, proven, answered."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from iqa import local
from iqa.errors import CheckpointMismatch
from iqa.imaging.preprocessing import DEFAULT, FIXED_SIZE, Policy
from iqa.network import checkpoint
from iqa.network.runtime import open_runtime
from iqa.tasks.task import ONE_OUTPUT, Head
from torch import nn

from console.paths import ROOT
from scripts import build_mar
from scripts.archive import mar_file
from tests import own_network
from tests.labelled import CLASSES, write
from training.graph import export, precision
from training.graph.quantisation import quantise
from training.loop.defaults import of_network
from training.loop.starting_weights import start_from
from training.networks import by_name, user_function
from training.networks.user_network import OwnNetwork
from training.registry.load_model import load_model
from training.train import main as train

GREY = Policy(fit=FIXED_SIZE, width_px=28, height_px=28, channels="L", min_side_px=7)
THREE = Head(n_outputs=3, activation="softmax")
NAME = "tests.own_network:shapes"
GOLDEN = sorted((ROOT / "handler" / "golden").glob("*.jpg"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes in folders."""
    return write(tmp_path_factory.mktemp("shapes"))


def options(images: Path, out: Path, *more: str) -> list[str]:
    """Return a command line that trains in seconds."""
    return [
        "--dataset", "imagefolder", "--data-dir", str(images), "--epochs", "4", "--lr", "0.02",
        "--head-lr-factor", "1", "--optimizer", "sgd", "--batch-size", "15", "--workers", "0",
        "--device", "cpu", "--precision", "f32", "--out", str(out), "--model-name", "shapes",
        *more,
    ]  # fmt: skip


@pytest.mark.usefixtures("store")
def test_the_document_s_example_from_training_to_a_proven_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code and its commands as they are written; then without the module, by the graph."""
    text = (ROOT / "docs" / "your-own-model.md").read_text()
    assert len(text.splitlines()) <= 40
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (commands,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    (tmp_path / "tiny.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for line in commands.splitlines():
        _, _, module, *arguments = shlex.split(line)
        if module == "scripts.build_mar":
            arguments += ["--out", str(tmp_path / "store")]
        assert importlib.import_module(module).main(arguments) == 0, line
    assert json.loads((tmp_path / "demo" / "tiny.json").read_text())["weights_sha256"]

    monkeypatch.delitem(sys.modules, "tiny")
    (tmp_path / "tiny.py").unlink()
    importlib.invalidate_caches()
    archive = tmp_path / "store" / "tiny-1.mar"
    said = mar_file.read_provenance(archive)
    assert said["architecture"]["backbone"] == "tiny:tiny" and said["task"] == "quality"
    expected = said["golden"][0]["score"]
    golden = ROOT / "handler" / "golden" / said["golden"][0]["file"]
    assert local.model.load(archive).score(golden) == pytest.approx(expected, abs=0.01)
    logged = mlflow.pyfunc.load_model("models:/tiny@staging")
    (row,) = logged.predict(pd.DataFrame({"image": [str(golden)]})).to_dict("records")
    assert row["score"] == pytest.approx(expected, abs=0.01)
    with pytest.raises(ValueError, match=r"expected a module tiny to import.*PYTHONPATH"):
        load_model("models:/tiny@staging")
    assert "tiny" not in sys.modules


@pytest.mark.usefixtures("store")
def test_classes_with_a_stated_input_the_whole_way(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """28 x 28 and grey stand in the card; INT8 passes its gate; other code is refused."""
    out = tmp_path / "run"
    assert train(options(images, out, "--network", NAME, "--alias", "staging")) == 0
    network, card = by_name.load(out / "best")
    assert {"width_px": 28, "channels": "L"}.items() <= card["preprocessing"].items()
    assert card["architecture"]["parameters"] == {
        "n_outputs": 3, "n_channels": 1, "channels": "L", "image_size": [28, 28], "mean": [0.5],
        "std": [0.25],
    }  # fmt: skip
    assert len(card["architecture"]["probe"]) == 3 and network.backbone == NAME
    assert card["metrics"]["test"]["accuracy"] >= 0.9

    data = ["--dataset", "imagefolder", "--data-dir", str(images)]
    build = ["--model-name", "shapes", "--alias", "staging", "--out", str(tmp_path / "store")]
    assert build_mar.main([*build, "--precision", "auto", *data]) == 0
    archive = tmp_path / "store" / "shapes-1.mar"
    assert mar_file.read_provenance(archive)["precision"] in ("f32", "int8")
    model = local.model.load(archive)
    for label in CLASSES:
        reply = model.predict(images / "test" / label / "1.png")
        assert set(reply["probabilities"]) == set(CLASSES)
    assert build_mar.main([*build, "--precision", "bf16", "--replace", *data]) == 1
    assert "expected a network of this project, whose layers are known" in capsys.readouterr().err

    monkeypatch.setattr(own_network, "ACTIVATION", nn.GELU)
    with pytest.raises(ValueError, match=r"expected the logits that its weights gave.*restore it"):
        by_name.load(out / "best")


def test_what_serves_never_imports_the_module(images: Path, tmp_path: Path) -> None:
    """`iqa` refuses a checkpoint of foreign code, and says what runs; it tries no import."""
    network = by_name.make(NAME, THREE, GREY)
    facts = {"class_names": list(CLASSES)}
    checkpoint.save(tmp_path, network, facts, checkpoint.task_of({"task": "classes"}), GREY)
    with pytest.raises(CheckpointMismatch, match=r"whose code is not part of iqa.*build_mar"):
        checkpoint.load(tmp_path)
    with pytest.raises(CheckpointMismatch, match="whose code is not part of iqa"):
        open_runtime(tmp_path, "torch")
    export.export_onnx(network.eval(), tmp_path / "model.onnx")
    script = (
        "import sys, pathlib\n"
        "from iqa.network import runtime\n"
        "runtime._cuda_is_available = lambda: True\n"
        f"found = runtime.open_runtime(pathlib.Path({str(tmp_path)!r}))\n"
        "print(found.name, 'tests' in sys.modules, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["openvino", "False", "False"]


def test_what_a_data_set_brings_along_is_for_networks_of_this_project() -> None:
    """Neither frozen norms nor `--weights none` hold for others; ratings keep their input."""
    butterflies = of_network(NAME, "butterflies", has_ratings=False)
    assert butterflies == {
        "norm": "batch", "weights": "none", "image_size": (28, 28), "channels": "L",
    }  # fmt: skip
    assert of_network("timm:test_resnet", "handwriting", has_ratings=False)["weights"] == "imagenet"
    assert of_network(NAME, "csv", has_ratings=True) == {"weights": "none"}
    assert of_network("mobilenet_v2", "butterflies", has_ratings=False) == {}


def test_the_last_layer_alone_or_with_the_last_parts(images: Path, tmp_path: Path) -> None:
    """Where it is called head; with its own rate."""
    from training.loop.config import TrainConfig
    from training.loop.optimiser import optimizer_of
    from training.loop.trainable_layers import freeze

    network = by_name.make(NAME, THREE, GREY)
    assert isinstance(network, OwnNetwork)
    frozen = freeze(network, "head")
    assert [m for m in frozen] == [network.network.first, network.network.second]
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert trained == ["network.head.weight", "network.head.bias"]
    network = by_name.make(NAME, THREE, GREY)
    freeze(network, "last:1")
    assert not any(p.requires_grad for p in network.network.first.parameters())
    config = TrainConfig(backbone=NAME, weights="none", lr=0.1, head_lr_factor=5.0)
    rates = {group["lr"] for group in optimizer_of(network, config).param_groups}
    assert rates == {0.1, 0.5}
    with pytest.raises(ValueError, match=r"last:1 to last:1 of tests.own_network:shapes"):
        freeze(network, "last:2")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("function", "more", "expected"),
    [
        ("ten_outputs", [], r"expected logits of shape \(2, 3\) for two images, got a tensor of "
         r"shape \(2, 10\).*take the parameter n_outputs"),
        ("of_the_batch", [], "expected its graph to give torch's outputs, got others"),
        ("not_exportable", [], "expected one that can be exported to ONNX"),
        ("no_module", [], "expected an nn.Module, got str"),
        ("without_weights", [], "expected weights to train, got none"),
        ("fails", [], "got RuntimeError: no such layer"),
        ("needs_more", [], "got depth too. Give these a default"),
        ("headless", ["--train", "head"], "whose last layer is not known.*Name that layer `head`"),
        ("headless", ["--head-lr-factor", "3"], "--head-lr-factor: expected it left out"),
        ("headless", ["--pooling", "average+std"], "which pools by itself"),
        ("headless", ["--weights", "imagenet"], "--weights: expected none or a file"),
        ("headless", ["--weights", "x.safetensors", "--norm", "frozen"], "expected imagenet, none "
         "or a file, got x.safetensors"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_training(
    images: Path,
    tmp_path: Path,
    function: str,
    more: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what was expected and what to do; no run is left behind."""
    name = f"tests.own_network:{function}"
    assert train(options(images, tmp_path / "run", "--network", name, *more)) == 1
    assert re.search(expected, capsys.readouterr().err)
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere:tiny", "expected a module nowhere to import, got ModuleNotFoundError"),
        ("tests.own_network:nothing", "expected a function nothing in .*There are: fails"),
        ("tests.own_network:takes_nothing", "expected a function that takes n_outputs"),
        ("os:abort", "expected a function that takes n_outputs"),
        ("a b:c", "expected module:function or timm:NAME"),
        ("vgg", "or module:function, or timm:NAME, got 'vgg'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_wrong_usage(
    name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and the usage; what makes no networks is not called."""
    with pytest.raises(SystemExit) as exit_:
        train(["--dataset", "imagefolder", "--network", name])
    assert exit_.value.code == 2
    assert re.search(expected, capsys.readouterr().err)


def test_weights_of_a_file_and_layers_with_two_names(tmp_path: Path) -> None:
    """A last layer for other classes is left out; a shared layer is stored and read."""
    first = by_name.make(NAME, Head(n_outputs=5, activation="softmax"), GREY)
    path = tmp_path / "weights.pt"
    assert isinstance(first, OwnNetwork)
    torch.save(first.network.state_dict(), path)
    second = by_name.make(NAME, THREE, GREY)
    start_from(second, str(path))
    assert isinstance(second, OwnNetwork)
    assert torch.equal(second.network.first[0].weight, first.network.first[0].weight)
    with pytest.raises(ValueError, match=r"expected 8 tensors of .*headless|expected \d+ tensors"):
        start_from(by_name.make("tests.own_network:headless", THREE, GREY), str(path))

    tied = by_name.make("tests.own_network:tied", ONE_OUTPUT, DEFAULT).eval()
    checkpoint.save(tmp_path / "tied", tied, {})
    again, _ = by_name.load(tmp_path / "tied")
    pixels = torch.randint(0, 256, (2, 40, 60, 3), dtype=torch.uint8)
    assert torch.equal(again(pixels), tied(pixels)) and again(pixels).shape == (2,)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_network_of_timm_becomes_a_graph(name: str, tmp_path: Path) -> None:
    """Its own size and statistics are the defaults; its classifier is the last layer."""
    pytest.importorskip("timm", reason="timm is not installed: training/networks/requirements.txt")
    stated = user_function.stated_defaults(f"timm:{name}")
    assert stated == {"image_size": (160, 160)}
    policy = Policy(fit=FIXED_SIZE, width_px=160, height_px=160)
    network = by_name.make(f"timm:{name}", THREE, policy, dropout=0.1).eval()
    assert isinstance(network, OwnNetwork) and network.last_layer is not None
    export.try_export(network)
    quantise(network, [torch.zeros(160, 160, 3, dtype=torch.uint8)] * 2, tmp_path / "model.xml")
    assert precision.open_graph(tmp_path, "int8").outputs(
        torch.zeros(1, 160, 160, 3, dtype=torch.uint8).numpy()
    ).shape == (1, 3)
    if name == "test_vit":  # made for other sizes where it is told
        by_name.make(f"timm:{name}", THREE, Policy(fit=FIXED_SIZE, width_px=64, height_px=96))


@pytest.mark.usefixtures("store")
def test_a_network_of_timm_is_trained_and_proven(images: Path, tmp_path: Path) -> None:
    """Grey, small, its last layers alone; the archive holds no timm."""
    pytest.importorskip("timm", reason="timm is not installed: training/networks/requirements.txt")
    more = ["--network", "timm:test_resnet", "--weights", "none", "--image-size", "32", "32",
            "--channels", "L", "--epochs", "1", "--train", "last:2"]  # fmt: skip
    assert train(options(images, tmp_path / "run", *more, "--alias", "staging")) == 0
    store = tmp_path / "store"
    options_ = ["--model-name", "shapes", "--precision", "f32", "--out", str(store)]
    assert build_mar.main(options_) == 0
    said = mar_file.read_provenance(store / "shapes-1.mar")
    assert said["architecture"]["backbone"] == "timm:test_resnet"


def test_without_timm_its_networks_name_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage, with the command; an unknown name gets similar ones where timm is there."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SystemExit):
        train(["--network", "timm:resnet18"])
    assert "-r training/networks/requirements.txt" in capsys.readouterr().err
    monkeypatch.undo()
    pytest.importorskip("timm", reason="timm is not installed: training/networks/requirements.txt")
    with pytest.raises(SystemExit):
        train(["--network", "timm:resnet_none"])
    assert "similar: " in capsys.readouterr().err
