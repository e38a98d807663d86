"""
What the network sees on its way to a quality: means of the maps inside it, as one vector.

The served graph gets them as a second output, so they cost no second pass. The maps are taken
behind an activation: there the graph that is rounded for bfloat16 has the values of the
checkpoint's network (`training.graph.rounding` moves the means of the others).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from iqa.network.openvino_core import core

if TYPE_CHECKING:  # each takes a while to import, and the other runtime has no need of it
    from openvino import Model
    from torch import Tensor, nn

TAPS: Final[dict[str, tuple[str, ...]]] = {
    "mobilenet_v2": ("2.conv.1.2", "4.conv.1.2", "7.conv.1.2", "14.conv.1.2", "18.2"),
}
"""By backbone: modules of `features`, of a quarter, an eighth, a sixteenth and a thirty-second of
the input's sides; the last one is what the head sees."""

N_FEATURES: Final = {"mobilenet_v2": 96 + 144 + 192 + 576 + 1280}
"""At full width; in a pruned network (`iqa.network.pruned_mobilenet`) the hidden maps are fewer."""


def tapped_graph(graph: Path, backbone: str) -> Model:
    """
    Read a graph and give it the features as a second output: float32, shape (N, n_features).

    Args:
        graph: As `training.graph.export` writes it.
        backbone: A key of `TAPS`.

    Raises:
        ValueError: A map is not in the graph.
    """
    from openvino import opset13

    model = core().read_model(graph)
    operations = [(node.get_friendly_name(), node) for node in model.get_ordered_ops()]
    means = []
    for tap in TAPS[backbone]:
        found = [node for name, node in operations if name.startswith(f"{_scope(tap)}/")]
        if not found:
            raise ValueError(
                f"{graph.name}: expected the maps of {tap}, got a graph without. Export it again."
            )
        axes = opset13.constant(np.array([2, 3], np.int64))
        means.append(opset13.reduce_mean(found[-1].output(0), axes, keep_dims=False))
    model.add_outputs([opset13.concat(means, 1).output(0)])
    return model


@contextmanager
def tapped(features: nn.Module, backbone: str) -> Iterator[list[Tensor]]:
    """
    Collect the same means while torch runs the network.

    Args:
        features: Of an `ImageNetwork`.
        backbone: A key of `TAPS`.

    Yields:
        A list that each pass appends to: one tensor (N, C) a tap.
    """
    means: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        means.append(output.float().mean(dim=(2, 3)))

    hooks = [features.get_submodule(tap).register_forward_hook(take) for tap in TAPS[backbone]]
    try:
        yield means
    finally:
        for hook in hooks:
            hook.remove()


def _scope(module: str) -> str:
    """Return what torch's exporter calls a module: `4.conv` is /features/features.4/conv."""
    scope, names = "/features", module.split(".")
    for place, name in enumerate(names):
        before = names[place - 1] if place else "features"
        # A numbered child carries the names of the sequences that it is in.
        if not name.isdigit():
            scope += f"/{name}"
        elif before.isdigit():
            scope += f"/{scope.rsplit('/', 1)[1]}.{name}"
        else:
            scope += f"/{before}.{name}"
    return scope
