"""
The whole chain on synthetic data, in a folder of its own: `make demo`.

Train a small network, train it longer, see the better one promoted and a worse one refused,
package it, serve it, score pictures, stop. Nothing outside `demo/` changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from training.tracking_uri import ROOT

FOLDER = ROOT / "demo"


def main(argv: list[str] | None = None) -> int:
    """Run each command as a person would type it; stop at the first that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description="Run the whole chain (train, promote, package, serve, score) on synthetic "
        "rated pictures, with a tracking database of its own in demo/. Takes minutes on 2 cores.",
    )
    parser.add_argument("--pictures", type=int, default=200, help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{FOLDER / 'mlflow.db'}"
    data = FOLDER / "data"
    store = FOLDER / "model-store"
    train = [
        "-m", "training.train", "--data-dir", str(data), "--weights", "none", "--restart",
        "--crop-px", "128", "--experiment", "demo-synthetic", "--alias", "staging",
    ]  # fmt: skip
    sample = ROOT / "handler" / "golden"
    commands: list[list[str]] = [
        ["-m", "training.demo_data", "--out", str(data), "--pictures", str(arguments.pictures)],
        [*train, "--epochs", "1", "--out", str(FOLDER / "runs/short")],
        [*train, "--epochs", "4", "--lr", "1e-3", "--out", str(FOLDER / "runs/longer")],
        [*train, "--epochs", "1", "--lr", "1e-6", "--out", str(FOLDER / "runs/worse")],
        ["-m", "scripts.model_info", "--all"],
        ["-m", "scripts.build_mar", "--out", str(store), "--replace"],
        ["-m", "scripts.serve", "--detach", "--model-store", str(store)],
        ["-m", "scripts.score_image", *map(str, sorted(sample.glob("*.jpg")))],
        ["-m", "scripts.serve", "--stop"],
    ]  # fmt: skip
    for command in commands:
        print(f"\n$ python {' '.join(_shorten(word) for word in command)}", flush=True)
        status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        if status:
            print(f"error: that ended with exit status {status}", file=sys.stderr)
            return status
    print(
        "\nthe scores are of a network that saw a few synthetic pictures: they mean nothing.\n"
        "next: scripts/run_torchserve.sh serves the shipped model"
    )
    return 0


def _shorten(word: str) -> str:
    path = Path(word)
    return os.path.relpath(path, ROOT) if path.is_absolute() else word


if __name__ == "__main__":
    sys.exit(main())
