"""
Agreement with people against CPU time: the shipped model among others that judge a photograph.

    python -m benchmarks.neighbours --dataset biq2021 --data-dir DIR [--brisque-python PYTHON]

CPU time of one graph in float32 and one thread, by OpenVINO: the least of rounds in turn. A
network that is not shipped is timed with random weights. Its agreement is that of the nine cells
(docs/model/nine-cells.md), or quoted from the data set's authors, and the table says which. BRISQUE
is the package of this name (Apache-2.0), in an environment of its own with
`brisque[opencv-python-headless] numpy<2.3`: timed, and judged on the same pictures.

Writes neighbours.json, .md and .svg.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
import torch
from iqa.imaging.preprocessing import input_size
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork
from matplotlib.figure import Figure
from scipy import stats
from torch import nn
from torchvision.models import resnet50

from benchmarks import record
from benchmarks.report_tables import table
from console import command_line
from console.paths import ROOT
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.registry.pretrained import PRETRAINED

ROUNDS: Final = 15
SIDE_PX: Final = 448
"""Of a square photograph at the served area."""
CELLS: Final = ROOT / "docs" / "model" / "nine-cells.md"
CELL: Final = re.compile(r"^\| \d+ \| (\w+) \|.*?\| 0\.\d+ \| (0\.\d+) \[", re.MULTILINE)
"""Backbone and test SROCC of a row."""
TESTED: Final = ROOT / "docs" / "model" / "test.json"
FAST: Final = PRETRAINED.with_name("pretrained_fast")
FAST_TESTED: Final = ROOT / "docs" / "model" / "fast-test.json"
QUOTED: Final = "quoted: BIQ2021's authors"
BRISQUE: Final = """
import json, sys, time
import cv2
from brisque import BRISQUE
cv2.setNumThreads(1)
judge, found = BRISQUE(url=False), []
for line in sys.stdin:
    pixels = cv2.imread(line.strip(), cv2.IMREAD_COLOR)
    started = time.process_time()
    points = float(judge.score(pixels[:, :, ::-1]))
    found.append([points, 1000 * (time.process_time() - started)])
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """
    One way to judge a photograph.

    Attributes:
        name: As in the table.
        side_px: Side of its square input.
        million_parameters: None where it has no network.
        ms: CPU time of a photograph, without decoding.
        srocc: On BIQ2021's test split.
        source: Where the agreement comes from.
    """

    name: str
    side_px: int
    million_parameters: float | None
    ms: float
    srocc: float
    source: str


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = record.parser_of("neighbours", __doc__, "neighbours")
    parser.add_argument(
        "--brisque-python", type=Path, metavar="PYTHON",
        help="a Python that has brisque[opencv-python-headless] (default: leave BRISQUE out)",
    )  # fmt: skip
    parser.add_argument(
        "--brisque-pictures", type=int, default=400, metavar="N",
        help="of the test split, evenly drawn; 0.3 s each (default: %(default)s)",
    )  # fmt: skip
    add_options(parser, DataConfig)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        found = networks()
        if arguments.brisque_python is not None:
            split = ratings.load(data_config(arguments), ("test",)).splits["test"]
            found.append(brisque(arguments.brisque_python, split, arguments.brisque_pictures))
        found.sort(key=lambda one: one.ms)
        arguments.out.mkdir(parents=True, exist_ok=True)
        plot(found).savefig(arguments.out / "neighbours.svg", metadata={"Date": None})
        rows = {"rows": [asdict(one) for one in found]}
        return record.keep(arguments.out, "neighbours", rows, as_table(found))

    return command_line.run(command, arguments.debug)


def networks() -> list[Neighbour]:
    """Time the networks in turn, each beside its agreement."""
    torch.manual_seed(0)
    best: dict[str, float] = {}
    for backbone, srocc in CELL.findall(CELLS.read_text()):
        best[backbone] = max(best.get(backbone, 0.0), float(srocc))
    if len(best) != 3:
        raise ValueError(f"{CELLS}: expected rows of three backbones, got {sorted(best)}.")
    plans: list[tuple[str, int, nn.Module, float, str]] = [
        ("**shipped**, MobileNetV2", *_shipped(PRETRAINED, TESTED), "measured"),
        ("**shipped, fast**", *_shipped(FAST, FAST_TESTED), "measured"),
    ]
    plans += [
        (f"{backbone}, best of the nine cells", SIDE_PX, ImageNetwork(backbone).eval(), srocc,
         "measured, 2,500 pictures of training")
        for backbone, srocc in best.items()
    ]  # fmt: skip
    plans += [
        ("MobileNetV2, fine-tuned by others, as NIMA", 224, ImageNetwork("mobilenet_v2").eval(),
         0.62, QUOTED),
        ("ResNet-50, fine-tuned by others", 224, resnet50(num_classes=1).eval(), 0.65, QUOTED),
    ]  # fmt: skip
    asks = [_asked(network, side) for _, side, network, _, _ in plans]
    least = [np.inf] * len(asks)
    for _ in range(ROUNDS):
        for place, ask in enumerate(asks):
            started = time.process_time()
            ask()
            least[place] = min(least[place], 1000 * (time.process_time() - started))
    return [
        Neighbour(
            name=name, side_px=side, ms=ms, srocc=srocc, source=source,
            million_parameters=sum(one.numel() for one in network.parameters()) / 1e6,
        )
        for (name, side, network, srocc, source), ms in zip(plans, least, strict=True)
    ]  # fmt: skip


def _shipped(folder: Path, figures: Path) -> tuple[int, nn.Module, float]:
    """
    Return side of the input, network, and agreement of a shipped checkpoint.

    Raises:
        ValueError: The figures are of other weights.
    """
    network, card = checkpoint.load(folder)
    tested = json.loads(figures.read_text())
    if tested["weights_sha256"] != card["weights_sha256"]:
        raise ValueError(f"{figures}: expected the figures of {folder.name}, got another's.")
    side_px, _ = input_size(1000, 1000, checkpoint.policy_of(card))
    return side_px, network, tested["srocc"]


def _asked(network: nn.Module, side_px: int) -> Callable[[], Any]:
    """Return what runs the network on one picture."""
    if isinstance(network, ImageNetwork):
        pixels = np.random.default_rng(0).integers(0, 256, (1, side_px, side_px, 3), np.uint8)
    else:
        pixels = np.random.default_rng(0).random((1, 3, side_px, side_px), np.float32)
    with torch.inference_mode():
        graph = openvino.convert_model(network, example_input=torch.from_numpy(pixels))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = openvino.compile_model(graph, "CPU", settings)
    return lambda: compiled(pixels)


def brisque(python: Path, split: ratings.Split, n_pictures: int) -> Neighbour:
    """Judge and time some pictures of a split by the package."""
    drawn = np.linspace(0, len(split) - 1, min(n_pictures, len(split))).astype(int)
    paths = "\n".join(str(split.paths[place]) for place in drawn)
    done = subprocess.run(
        [python, "-c", BRISQUE], input=paths, stdout=subprocess.PIPE,
        text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(
            f"{python}: expected it to run BRISQUE, got status {done.returncode}. Install "
            "brisque[opencv-python-headless] and numpy<2.3 there."
        )
    points, times_ms = np.array(json.loads(done.stdout.splitlines()[-1])).T
    return Neighbour(
        name="BRISQUE, its authors' weights",
        side_px=512,
        million_parameters=None,
        ms=float(np.median(times_ms)),
        srocc=float(stats.spearmanr(-points, split.target[drawn]).statistic),
        source=f"measured, {len(drawn)} pictures of the test",
    )


def as_table(found: list[Neighbour]) -> str:
    """Return the neighbours as Markdown, the quickest first."""
    return table(
        ["", "input", "million parameters", "CPU ms", "SROCC", "which is"],
        [
            [
                one.name,
                f"{one.side_px} x {one.side_px}",
                "" if one.million_parameters is None else f"{one.million_parameters:.1f}",
                f"{one.ms:.1f}",
                f"{one.srocc:.3f}",
                one.source,
            ]
            for one in found
        ],
    )


def plot(found: list[Neighbour]) -> Figure:
    """Draw agreement against time."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for one in found:
        is_ours = one.name.startswith("**")
        is_quoted = one.source == QUOTED
        axes.plot(
            one.ms, one.srocc, "*" if is_ours else "o", markersize=14 if is_ours else 7,
            color="C1" if is_ours else "C0", fillstyle="none" if is_quoted else "full",
        )  # fmt: skip
        above, side = (9, "bottom") if is_ours else (-9, "top")
        axes.annotate(
            one.name.replace("*", "").replace(", ", "\n", 1), (one.ms, one.srocc), (0, above),
            textcoords="offset points", ha="center", va=side, fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(0.15, 0.25)
    axes.set(xlabel="CPU time of one photograph, ms (one thread)", ylabel="SROCC, BIQ2021's test")
    axes.set_title("hollow: agreement as quoted by the data set's authors", fontsize=9)
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    sys.exit(main())
