"""
What a smaller input costs in agreement and saves in time, for a network as it is.

`python -m benchmarks.input_area --model training/pretrained --dataset biq2021 --data-dir DIR`

Each validation picture is judged at several areas of the input by the graph that is served, in
float32 and one thread. Two columns of agreement: the network as it is, and with a last layer that
is corrected for the area by ridge regression on the network's own features, towards its judgement
at full area (fitted on four fifths of the pictures, judged on the last fifth).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.imaging.decoding import decode
from iqa.imaging.preprocessing import AREA_PX, preprocess, with_area
from iqa.network import checkpoint
from iqa.network.intermediate_features import TAPS
from iqa.network.runtime import GRAPH_FILE, OpenVINORuntime
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logit
from tqdm import tqdm

from console import command_line
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.images import NO_LIMITS
from training.graph.export import export_onnx

AREAS: Final = (AREA_PX, 384 * 384, 336 * 336, AREA_PX // 2, 320 * 240)
FOLDS: Final = 5
RIDGE: Final = 1.0
"""Of the squared weights, for each feature in standard deviations."""
ROUNDS: Final = 15
N_POOLED: Final = 1280
"""Features that the last layer sees: the last ones."""
Vector = NDArray[np.float64]


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.input_area",
        description="Agreement with people and CPU time of a checkpoint at several input areas.",
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a checkpoint")
    parser.add_argument(
        "--areas", type=int, nargs="+", default=list(AREAS), metavar="PIXELS",
        help="the first is the one to compare with (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("input-area.json"),
        help="file of the figures; table (.md) and plot (.svg) beside it (default: %(default)s)",
    )  # fmt: skip
    add_options(parser, DataConfig)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        network, card = checkpoint.load(arguments.model)
        backbone = str(card["architecture"]["backbone"])
        if backbone not in TAPS:
            raise ValueError(f"--model: expected one of {', '.join(TAPS)}, got {backbone}.")
        split = ratings.load(data_config(arguments), ("val",)).splits["val"]
        with tempfile.TemporaryDirectory() as directory:
            export_onnx(network, Path(directory) / GRAPH_FILE)
            runtime = OpenVINORuntime(Path(directory) / GRAPH_FILE, 1, "f32", backbone)
            quality, features, pixels = _judged(runtime, split, arguments.areas)
            times_ms = _times_ms(runtime, pixels)
        report = {
            "weights_sha256": card["weights_sha256"],
            "pictures": len(split),
            "rows": _rows(arguments.areas, quality, features, split.target, pixels, times_ms),
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(markdown(report))
        plot(report).savefig(arguments.out.with_suffix(".svg"), metadata={"Date": None})
        print(markdown(report))
        return 0

    return command_line.run(command, arguments.debug)


def markdown(report: dict[str, Any]) -> str:
    """Return the table of a report."""
    lines = [
        "| input of a square, pixels | graph, ms | of full | SROCC | PLCC "
        "| SROCC, last layer corrected | PLCC |",
        "|---" * 7 + "|",
    ]
    for row in report["rows"]:
        numbers = " | ".join(
            f"{row[key]:.3f}" for key in ("srocc", "plcc", "corrected_srocc", "corrected_plcc")
        )
        lines.append(
            f"| {row['side']} x {row['side']} | {row['ms']:.1f} | {row['share']:.2f} | {numbers} |"
        )
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any]) -> Figure:
    """Draw agreement against time."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes, rows = figure.subplots(), report["rows"]
    shares = [row["share"] for row in rows]
    for key, label in (("srocc", "as it is"), ("corrected_srocc", "last layer corrected")):
        axes.plot(shares, [row[key] for row in rows], "o-", label=label)
    for row in rows:
        axes.annotate(
            f"{row['side']} x {row['side']}", (row["share"], row["srocc"]), (0, -12),
            textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    axes.margins(0.1)
    axes.set(xlabel="CPU time of the graph, of that at full area", ylabel="SROCC, validation")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _judged(
    runtime: OpenVINORuntime, split: ratings.Split, areas: Sequence[int]
) -> tuple[list[Vector], list[NDArray[np.float32]], list[NDArray[np.uint8]]]:
    """Return by area the qualities, the features, and the pixels of one square picture."""
    outputs: list[list[float]] = [[] for _ in areas]
    features: list[list[NDArray[np.float32]]] = [[] for _ in areas]
    for path in tqdm(split.paths, desc="judge", unit="picture"):
        body = path.read_bytes()
        for place, area in enumerate(areas):
            pixels = decode(body, NO_LIMITS, with_area(area)).pixels()[None]
            output, seen = runtime.outputs_and_features(pixels)
            outputs[place].append(float(output[0]))
            features[place].append(seen[0, -N_POOLED:].copy())
    square = decode(split.paths[0].read_bytes(), NO_LIMITS).image.crop((0, 0, 512, 512))
    ones = [preprocess(square, policy=with_area(area))[None] for area in areas]
    return [np.array(row) for row in outputs], [np.stack(row) for row in features], ones


def _times_ms(runtime: OpenVINORuntime, pixels: Sequence[NDArray[np.uint8]]) -> list[float]:
    """Return the least CPU time of the graph by area, in rounds that take turns."""
    least = [np.inf] * len(pixels)
    for _ in range(ROUNDS):
        for place, one in enumerate(pixels):
            started = time.process_time()
            runtime.outputs_and_features(one)
            least[place] = min(least[place], 1000 * (time.process_time() - started))
    return least


def _rows(
    areas: Sequence[int],
    quality: Sequence[Vector],
    features: Sequence[NDArray[np.float32]],
    target: Vector,
    pixels: Sequence[NDArray[np.uint8]],
    times_ms: Sequence[float],
) -> list[dict[str, float]]:
    wanted = logit(quality[0])
    rows = []
    for place, area in enumerate(areas):
        corrected = _corrected(features[place], logit(quality[place]), wanted)
        rows.append(
            {
                "area_px": area,
                "side": pixels[place].shape[1],
                "ms": times_ms[place],
                "share": times_ms[place] / times_ms[0],
                "srocc": float(stats.spearmanr(quality[place], target).statistic),
                "plcc": float(np.corrcoef(quality[place], target)[0, 1]),
                "corrected_srocc": float(stats.spearmanr(corrected, target).statistic),
                "corrected_plcc": float(np.corrcoef(1 / (1 + np.exp(-corrected)), target)[0, 1]),
            }
        )
    return rows


def _corrected(features: NDArray[np.float32], told: Vector, wanted: Vector) -> Vector:
    """Return logits with a correction that is linear in the features, of pictures not fitted on."""
    deviations = (features - features.mean(0)) / (features.std(0) + 1e-3)
    missing, corrected = wanted - told, told.copy()
    fold = np.arange(len(told)) % FOLDS
    for number in range(FOLDS):
        fits, judged = fold != number, fold == number
        centre, level = deviations[fits].mean(0), missing[fits].mean()
        known = deviations[fits] - centre
        # The dual form: fewer pictures than features.
        strength = RIDGE * features.shape[1] * np.eye(int(fits.sum()))
        weights = known.T @ np.linalg.solve(known @ known.T + strength, missing[fits] - level)
        corrected[judged] += level + (deviations[judged] - centre) @ weights
    return corrected


if __name__ == "__main__":
    sys.exit(main())
