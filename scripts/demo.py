"""
Run the whole chain on synthetic data, in a folder of its own.

Train, train longer, see the better one promoted and a worse one refused, package it, serve it,
score pictures, stop. Nothing outside `demo/` changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from console.paths import ROOT

FOLDER = ROOT / "demo"
# A registry, a server and ports beside those that may be in use.
ENVIRONMENT = {
    "MLFLOW_TRACKING_URI": f"sqlite:///{FOLDER / 'mlflow.db'}",
    "IQA_STATE_DIR": str(FOLDER / "state"),
    "INFERENCE_PORT": "18080",
    "MANAGEMENT_PORT": "18081",
    "METRICS_PORT": "18082",
    "HEALTH_PORT": "18083",
    "BACKEND_PORT": "18084",
    "WEB_PORT": "18086",
}
STOP = ["-m", "scripts.serve", "--stop"]


def main(argv: list[str] | None = None) -> int:
    """Run each command as a person would type it; stop at the first that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description="Run the whole chain (train, promote, package, serve, score) on synthetic "
        "rated pictures, with a tracking database of its own in demo/. Takes minutes on 2 cores.",
    )
    parser.add_argument("--pictures", type=int, default=200, help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    for variable, value in ENVIRONMENT.items():
        os.environ[variable] = value
    try:
        return _run(chain(arguments.pictures))
    finally:
        subprocess.run([sys.executable, *STOP], cwd=ROOT, check=False, capture_output=True)


def _run(commands: list[list[str]]) -> int:
    for command in commands:
        print(f"\n$ python {' '.join(_shorten(word) for word in command)}", flush=True)
        status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        if status:
            print(f"error: that ended with exit status {status}", file=sys.stderr)
            return status
    print(
        "\nthe network saw a few synthetic pictures, rated by no person: its scores mean nothing.\n"
        "next: scripts/run_torchserve.sh serves the shipped model"
    )
    return 0


def chain(pictures: int) -> list[list[str]]:
    """
    Return the demo's commands, as words after `python`.

    Args:
        pictures: Size of the synthetic data set.
    """
    data, store = str(FOLDER / "data"), str(FOLDER / "model-store")
    train = [
        "-m", "training.train", "--data-dir", data, "--crop-px", "192", "--restart",
        "--experiment", "demo-synthetic", "--alias", "staging",
    ]  # fmt: skip
    # The shipped model's features learn the synthetic ratings in a minute; from nothing, a
    # network learns nothing in that time, and is refused.
    shipped = ["--weights", str(ROOT / "training" / "pretrained" / "model.safetensors")]
    runs = FOLDER / "runs"
    samples = sorted((ROOT / "handler" / "golden").glob("*.jpg"))
    return [
        ["-m", "training.demo_data", "--out", data, "--pictures", str(pictures)],
        [*train, *shipped, "--epochs", "1", "--lr", "1e-4", "--out", str(runs / "first")],
        [*train, *shipped, "--epochs", "3", "--lr", "1e-3", "--out", str(runs / "longer")],
        [*train, "--weights", "none", "--epochs", "1", "--out", str(runs / "from_nothing")],
        ["-m", "scripts.model_info", "--all"],
        ["-m", "scripts.build_mar", "--out", store, "--replace"],
        ["-m", "scripts.serve", "--detach", "--model-store", store],
        ["-m", "scripts.score_image", *map(str, samples)],
        STOP,
    ]


def _shorten(word: str) -> str:
    path = Path(word)
    return os.path.relpath(path, ROOT) if path.is_absolute() else word


if __name__ == "__main__":
    sys.exit(main())
