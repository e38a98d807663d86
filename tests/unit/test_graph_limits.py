"""What is counted of a compiled graph."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as ops

from benchmarks.graph_limits import Layer, as_text, layers


def _convolution(data: openvino.Output, filters: list[int], name: str) -> openvino.Node:
    weights = ops.constant(np.zeros(filters, dtype=np.float32))
    make = ops.group_convolution if len(filters) == 5 else ops.convolution
    pad = filters[-1] // 2
    node = make(data, weights, [1, 1], [pad, pad], [pad, pad], [1, 1])
    node.set_friendly_name(name)
    return node


def test_multiplications_are_counted_by_kind() -> None:
    """Output points times channels times inputs of a group times the filter's area."""
    pixels = ops.parameter([1, 3, 8, 10], np.float32)
    stem = _convolution(pixels, [16, 3, 3, 3], "stem")
    depthwise = _convolution(stem, [16, 1, 1, 3, 3], "depth")
    pointwise = _convolution(depthwise, [24, 16, 1, 1], "point")
    model = openvino.Model([pointwise], [pixels])
    found = layers(model, [("stem", 3.0), ("depth", 2.0), ("reorder", 0.5), ("point", 1.0)])
    assert found == [
        Layer(kind="first", ms=3.0, mega_macs=80 * 16 * 27 / 1e6),
        Layer(kind="depthwise", ms=2.0, mega_macs=80 * 16 * 9 / 1e6),
        Layer(kind="other", ms=0.5, mega_macs=0.0),
        Layer(kind="pointwise", ms=1.0, mega_macs=80 * 24 * 16 / 1e6),
    ]


def test_the_ceiling_bounds_the_picture() -> None:
    """1,000 million multiplications at 100 thousand million a second are 10 ms."""
    kinds = {
        "pointwise": {"mega_macs": 900.0, "ms": 10.0},
        "depthwise": {"mega_macs": 100.0, "ms": 4.0},
        "other": {"mega_macs": 0.0, "ms": 0.5},
    }
    timed = {"peak_giga_macs_per_s": 100.0, "ms": 14.6, "kinds": kinds}
    text = as_text({"precisions": {"bf16": timed}})
    assert "| pointwise | 900 | 10.00 | 90 | 90% |" in text
    assert "| other | 0 | 0.50 |  |  |" in text
    assert "takes 14.6 ms; its 1000 million MACs" in text
    assert "would take 10.0 ms" in text
