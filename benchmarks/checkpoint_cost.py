"""
CPU time of an image by checkpoint: decode, network and heads, as a worker does it, in float32.

    python -m benchmarks.checkpoint_cost training/pretrained training/pretrained_fast
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from iqa.local.model import Model
from iqa.network.runtime import GRAPH_FILE
from iqa.tasks.heads import HEADS_FILE
from iqa.tasks.task import CARD_FILE
from tqdm import trange

from console import command_line
from training.data.photographs import read_pictures
from training.graph.export import export_onnx
from training.networks import by_name

ROUNDS: Final = 15
LEAST: Final = 0.1
"""Quantile of the rounds that is taken: other work on the machine only adds."""


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.checkpoint_cost",
        description="CPU time of an image by checkpoint, in turn: decode, network and heads, as a "
        "worker does it, float32, one thread. The first is the one to compare with.",
    )
    parser.add_argument("models", type=Path, nargs="+", help="folders of checkpoints")
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER",
        help="images to score (default: six photographs that installed packages ship)",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=40, help="images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        bodies = list(read_pictures(arguments.images, "--images").values())[: arguments.limit]
        with tempfile.TemporaryDirectory() as folder:
            models = [
                _served(checkpoint, Path(folder, str(number)))
                for number, checkpoint in enumerate(arguments.models)
            ]
            times_ms = _times_ms(models, bodies, arguments.rounds)
        print(f"{len(bodies)} images, {arguments.rounds} rounds in turn\n")
        print("| checkpoint | CPU ms an image | of the first |\n|---|---|---|")
        for checkpoint, time_ms in zip(arguments.models, times_ms, strict=True):
            print(f"| {checkpoint.name} | {time_ms:.1f} | {time_ms / times_ms[0]:.3f} |")
        return 0

    return command_line.run(command, arguments.debug)


def _served(checkpoint: Path, folder: Path) -> Model:
    """Lay a checkpoint out as an archive has it, with a graph in float32."""
    folder.mkdir()
    network, _ = by_name.load(checkpoint)
    export_onnx(network, folder / GRAPH_FILE)
    for name in (CARD_FILE, HEADS_FILE):
        if (checkpoint / name).exists():
            shutil.copyfile(checkpoint / name, folder / name)
    return Model(folder)


def _times_ms(models: list[Model], bodies: list[bytes], rounds: int) -> list[float]:
    """Return the mean CPU time of an image, by model: each image by one after the other."""
    rows: list[list[float]] = [[] for _ in models]
    for _ in trange(rounds, desc="measure", unit="round"):
        sums = [0.0] * len(models)
        for body in bodies:
            for number, model in enumerate(models):
                begin_s = time.process_time()
                model.predict(body)
                sums[number] += time.process_time() - begin_s
        for row, seconds in zip(rows, sums, strict=True):
            row.append(1e3 * seconds / len(bodies))
    if rounds < 2:
        return [row[0] for row in rows]
    return [statistics.quantiles(row, n=round(1 / LEAST))[0] for row in rows]


if __name__ == "__main__":
    sys.exit(main())
