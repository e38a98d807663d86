"""
What the network sees on its way to a quality: means and maxima of the maps inside it, one vector.

A mean says how much of something there is, which depends on what is in the picture; a maximum of
an early map says how sharp its sharpest place is, which depends on it less. The served graph gets
them as a second output, so they cost no second pass. The maps are taken behind an activation: there
the graph that is rounded for bfloat16 has the values of the checkpoint's network
(`training.graph.rounding` moves the means of the others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from iqa.network.openvino_core import core

if TYPE_CHECKING:  # each takes a while to import, and the other runtime has no need of it
    from openvino import Model, Output
    from torch import Tensor, nn

TAPS: Final[dict[str, tuple[str, ...]]] = {
    "mobilenet_v2": ("2.conv.1.2", "4.conv.1.2", "7.conv.1.2", "14.conv.1.2", "18.2"),
}
"""By backbone: modules of `features`, of a quarter, an eighth, a sixteenth and a thirty-second of
the input's sides; the last one is what the head sees."""

WITH_MAXIMA: Final = slice(1, 3)
"""Taps that give the maxima of their maps as well. Those of the first, four times as large, would
cost a millisecond and told no more of blur."""

N_MEANS: Final = {"mobilenet_v2": 96 + 144 + 192 + 576 + 1280}
"""At full width; of a pruned network (`iqa.network.pruned_mobilenet`) fewer. Maxima follow them."""


def tapped_graph(graph: Path, backbone: str) -> tuple[Model, int]:
    """
    Read a graph and give it the features as a second output: float32, shape (N, n_features).

    Args:
        graph: As `training.graph.export` writes it.
        backbone: A key of `TAPS`.

    Returns:
        The graph, and how many of the features are means: the first ones.

    Raises:
        ValueError: A map is not in the graph.
    """
    from openvino import opset13

    model = core().read_model(graph)
    operations = [(node.get_friendly_name(), node) for node in model.get_ordered_ops()]
    axes = opset13.constant(np.array([2, 3], np.int64))
    maps: list[Output] = []
    for tap in TAPS[backbone]:
        found = [node for name, node in operations if name.startswith(f"{_scope(tap)}/")]
        if not found:
            raise ValueError(
                f"{graph.name}: expected the maps of {tap}, got a graph without. Export it again."
            )
        maps.append(found[-1].output(0))
    means = [opset13.reduce_mean(one, axes, keep_dims=False) for one in maps]
    maxima = [opset13.reduce_max(one, axes, keep_dims=False) for one in maps[WITH_MAXIMA]]
    model.add_outputs([opset13.concat([*means, *maxima], 1).output(0)])
    return model, sum(one.get_partial_shape()[1].get_length() for one in maps)


@contextmanager
def tapped(features: nn.Module, backbone: str) -> Iterator[Callable[[], Tensor]]:
    """
    Collect the same features while torch runs the network.

    Args:
        features: Of an `ImageNetwork`.
        backbone: A key of `TAPS`.

    Yields:
        What returns them after one pass: shape (N, n_features).
    """
    import torch

    means: list[Tensor] = []
    maxima: list[Tensor] = []

    def take(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        means.append(output.float().mean(dim=(2, 3)))
        maxima.append(output.float().amax(dim=(2, 3)))

    hooks = [features.get_submodule(tap).register_forward_hook(take) for tap in TAPS[backbone]]
    try:
        yield lambda: torch.cat([*means, *maxima[WITH_MAXIMA]], dim=1)
    finally:
        for hook in hooks:
            hook.remove()


def n_maps(features: nn.Module, backbone: str) -> list[int]:
    """
    Return how many maps each tap of a network has.

    Args:
        features: Of an `ImageNetwork`.
        backbone: A key of `TAPS`.
    """
    # Before each activation there is the layer that normalises its maps.
    norms = [features.get_submodule(f"{tap.rpartition('.')[0]}.1") for tap in TAPS[backbone]]
    # A module's attributes are modules or tensors to torch's types.
    return [int(norm.num_features) for norm in norms]  # type: ignore[arg-type]  # it is an int


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
