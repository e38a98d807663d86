"""
How near the graph comes to what one core can multiply: `python -m benchmarks.graph_limits`.

Times each layer of the served graph on one thread, and the largest matrix product of the same
library in the same precision. The second is the ceiling: no kernel and no server around it makes
a picture cheaper than its multiplications at that rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from iqa.network.openvino_core import core
from iqa.network.runtime import GRAPH_FILE, has_bf16

from benchmarks import machine
from benchmarks.peers.launches import ROOT
from benchmarks.report_tables import table
from console import command_line

MATRIX_SIDE: Final = 1024
SHAPE: Final = (1, 384, 512, 3)
PRECISIONS: Final = ("f32", "bf16")
SHIPPED: Final = ROOT / "training" / "pretrained" / "precision" / "bf16" / GRAPH_FILE


@dataclass(frozen=True, kw_only=True)
class Layer:
    """
    One node of the compiled graph.

    Attributes:
        kind: first, pointwise (1 x 1), depthwise, or other: everything that does not convolve.
        ms: Time for one image.
        mega_macs: Multiplications with their additions, millions.
    """

    kind: str
    ms: float
    mega_macs: float


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graph_limits", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--graph", type=Path, default=SHIPPED, help="ONNX file (default: the shipped bf16 graph)"
    )
    parser.add_argument(
        "--runs", type=int, default=40, help="pictures to time (default: %(default)s)"
    )
    parser.add_argument(
        "--result", type=Path, default=ROOT / "build" / "graph_limits.json",
        help="file of the figures (default: build/graph_limits.json)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        figures = measure(arguments.graph, arguments.runs)
        arguments.result.parent.mkdir(parents=True, exist_ok=True)
        arguments.result.write_text(json.dumps(figures, indent=2) + "\n")
        print(as_text(figures))
        return 0

    return command_line.run(command, arguments.debug)


def measure(graph: Path, runs: int) -> dict[str, Any]:
    """
    Time a graph's layers and the ceiling, in each precision that this CPU has.

    Args:
        graph: ONNX, uint8 (N, H, W, 3) in.
        runs: Pictures to time.

    Raises:
        FileNotFoundError: There is no such graph.
    """
    if not graph.exists():
        raise FileNotFoundError(f"--graph: expected an ONNX file, found no {graph}.")
    precisions = [name for name in PRECISIONS if name == "f32" or has_bf16()]
    return {
        "machine": machine.machine(),
        "precisions": {
            name: {
                "peak_giga_macs_per_s": peak_giga_macs_per_s(name, runs),
                **_timed(graph, name, runs),
            }
            for name in precisions
        },
    }


def peak_giga_macs_per_s(precision: str, runs: int) -> float:
    """Return what one thread multiplies in the product of two large matrices: the best of runs."""
    shape = [MATRIX_SIDE, MATRIX_SIDE]
    left = openvino.opset13.parameter(shape, np.float32)
    weights = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    product = openvino.opset13.matmul(left, openvino.opset13.constant(weights), False, False)
    request = _request(openvino.Model([product], [left]), precision)
    matrix = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    return MATRIX_SIDE**3 / min(_seconds(request, matrix, runs)) / 1e9


def layers(model: openvino.Model, nodes: Iterable[tuple[str, float]]) -> list[Layer]:
    """
    Say of each node of a compiled graph what it is and what it multiplies.

    Args:
        model: The graph, its shapes known.
        nodes: Name and milliseconds of each. A convolution keeps its name where others are
            merged into it.
    """
    known = {
        op.get_friendly_name(): op
        for op in model.get_ops()
        if op.get_type_name() in ("Convolution", "GroupConvolution")
    }
    found = []
    for name, ms in nodes:
        op = known.get(name)
        if op is None:
            found.append(Layer(kind="other", ms=ms, mega_macs=0.0))
            continue
        weights = list(op.input(1).get_shape())
        n_per_output = int(np.prod(weights[-3:]))  # inputs of the group x height x width
        macs = int(np.prod(list(op.output(0).get_shape()))) * n_per_output
        if op.get_type_name() == "GroupConvolution":
            kind = "depthwise"
        else:
            kind = "pointwise" if weights[-1] == 1 else "first"
        found.append(Layer(kind=kind, ms=ms, mega_macs=macs / 1e6))
    return found


def as_text(figures: dict[str, Any]) -> str:
    """Write a table for each precision, and what the ceiling allows."""
    parts = []
    for precision, timed in figures["precisions"].items():
        peak = timed["peak_giga_macs_per_s"]
        rows: list[list[object]] = []
        for kind, sums in timed["kinds"].items():
            rate = sums["mega_macs"] / sums["ms"] if sums["ms"] else 0.0
            rows.append(
                [
                    kind, f"{sums['mega_macs']:.0f}", f"{sums['ms']:.2f}",
                    f"{rate:.0f}" if rate else "", f"{rate / peak:.0%}" if rate else "",
                ]
            )  # fmt: skip
        head = ["layers", "10^6 MACs", "ms", "10^9 MACs/s", "of the ceiling"]
        whole = sum(sums["mega_macs"] for sums in timed["kinds"].values())
        parts.append(
            f"{precision}, one thread; ceiling {peak:.0f} x 10^9 MACs/s\n\n"
            + table(head, rows)
            + f"\nA picture takes {timed['ms']:.1f} ms; its {whole:.0f} million MACs at the "
            f"ceiling, all else for nothing, would take {whole / peak:.1f} ms.\n"
        )
    return "\n".join(parts)


def _timed(graph: Path, precision: str, runs: int) -> dict[str, Any]:
    model = core().read_model(graph)
    model.reshape(SHAPE)
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    ms = 1000 * statistics.median(_seconds(_request(model, precision), pixels, runs))
    profiled = _request(model, precision, is_profiled=True)
    totals: dict[str, list[float]] = {}
    for _ in range(runs):
        profiled.infer([pixels], share_inputs=True)
        for node in profiled.get_profiling_info():
            if node.status == node.EXECUTED:
                totals.setdefault(node.node_name, []).append(node.real_time.total_seconds())
    nodes = [(name, 1000 * statistics.median(times)) for name, times in totals.items()]
    kinds: dict[str, dict[str, float]] = {}
    for layer in layers(model, nodes):
        sums = kinds.setdefault(layer.kind, {"mega_macs": 0.0, "ms": 0.0})
        sums["mega_macs"] += layer.mega_macs
        sums["ms"] += layer.ms
    return {"ms": ms, "kinds": kinds}


def _request(
    model: openvino.Model, precision: str, *, is_profiled: bool = False
) -> openvino.InferRequest:
    properties = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "PERF_COUNT": is_profiled,
    }
    return core().compile_model(model, "CPU", properties).create_infer_request()


def _seconds(request: openvino.InferRequest, value: np.ndarray[Any, Any], runs: int) -> list[float]:
    for _ in range(5):
        request.infer([value], share_inputs=True)
    times = []
    for _ in range(runs):
        started_s = time.perf_counter()
        request.infer([value], share_inputs=True)
        times.append(time.perf_counter() - started_s)
    return times


if __name__ == "__main__":
    sys.exit(main())
