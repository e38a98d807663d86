"""The whole chain on synthetic data: train, register, promote, package, serve, score."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from iqa.imaging.decoding import decode
from iqa.network import checkpoint

from console.paths import ROOT
from tests.server import MakeServer, running

PICTURE = ROOT / "handler" / "golden" / "lighthouse.jpg"


def test_the_better_model_is_promoted_packaged_and_served_and_a_worse_one_is_not(
    rated: Path, empty_store: Path, tmp_path: Path, make_server: MakeServer
) -> None:
    """Two runs on one data set: the better holds staging and is what the server scores with."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": f"{ROOT}:{ROOT}/handler"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    train = (
        "training.train", "--data-dir", str(rated), "--crop-px", "96",
        "--batch-size", "8", "--alias", "staging", "--workers", "0",
    )  # fmt: skip
    shipped = ("--weights", str(ROOT / "training" / "pretrained" / "model.safetensors"))
    careful = ("--norm", "frozen", "--epochs", "4", "--lr", "3e-4")  # keeps what it came with
    first = run(*train, *shipped, *careful, "--out", str(tmp_path / "first"))
    assert "staging -> version 1" in first
    # A rate at which nothing is learned: from random weights, this cannot rank better.
    second = run(
        *train,
        "--weights",
        "none",
        "--epochs",
        "1",
        "--lr",
        "1e-9",
        "--out",
        str(tmp_path / "second"),
    )
    assert "staging stays at version 1: not better" in second
    info = run("scripts.model_info", "--all")
    assert [line.split()[:2] for line in info.splitlines()[1:]] == [["1", "staging"], ["2", "-"]]
    assert "synthetic" in info
    store = tmp_path / "store"
    assert "iqa-1.mar" in run("scripts.build_mar", "--out", str(store))
    server = make_server(uri, store)
    done = server.run("--detach")
    assert done.returncode == 0, done.stdout + done.stderr + server.logs()
    reply = server.score(PICTURE.read_bytes())
    assert reply["model"]["version"] == "1"
    network, _ = checkpoint.load(tmp_path / "first" / "best")
    pixels = torch.from_numpy(decode(PICTURE.read_bytes()).pixels().copy())
    with torch.inference_mode():
        expected = 100 * float(network(pixels[None]))
    assert abs(reply["score"] - expected) <= 0.01
    members = server.members()
    assert server.run("--stop").returncode == 0
    assert running(members) == []
