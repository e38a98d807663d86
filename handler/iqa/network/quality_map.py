"""
Where a score comes from: a logit for each place, whose mean is the logit of the whole picture.

Exact, not an estimate: the head is linear on the average over the places, so the average may as
well be taken after it. Holds for any network that ends so; another one is refused. The features
are those of the graph that is served, and cost one more compiled graph, made when the first
explanation is asked for, and one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from iqa.errors import ImageRejected
from iqa.network.openvino_core import core
from numpy.typing import NDArray

if TYPE_CHECKING:  # openvino takes a while to import, and torch's runtime has no need of it
    from openvino import Model, Node, Output

LOGIT_DECIMALS: Final = 5

# What may lie between the average over places and the quality, beside the head: nothing that
# bends, and nothing that rounds.
STRAIGHT: Final = ("Reshape", "Squeeze", "Convert")
PLACES: Final = {2, 3}
"""Axes of the features (N, C, H, W) over which the average is taken."""


@dataclass(frozen=True, kw_only=True)
class QualityMap:
    """
    One picture's quality, and its places' share in it.

    Attributes:
        quality: In [0, 1], not calibrated.
        logits: float64, shape (rows, columns), signed. Their mean is the logit of `quality`: a
            place above it lifts the score, one below it lowers it. Row by row from the top left;
            each place looks at an area around it that is much larger than its share.
    """

    quality: float
    logits: NDArray[np.float64]

    def body(self) -> dict[str, Any]:
        """Return it for a reply: `rows`, `columns`, `logits` as lists."""
        rows, columns = self.logits.shape
        logits = np.round(self.logits, LOGIT_DECIMALS).tolist()
        return {"rows": rows, "columns": columns, "logits": logits}


class MappedGraph:
    """
    A served graph with its features as a second output.

    Args:
        graph: As `iqa.network.runtime` opens it.
        properties: Settings of the compilation, as for the served graph, so that the numbers agree.

    Raises:
        ImageRejected: The graph's head is not linear on the average (404).
    """

    def __init__(self, graph: Path, properties: dict[str, Any]) -> None:
        model = core().read_model(graph)
        features, self._weight, self._bias = _linear_head(model)
        model.add_outputs([features])
        self._request = core().compile_model(model, "CPU", properties).create_infer_request()

    def __call__(self, pixels_HWC: NDArray[np.uint8]) -> QualityMap:
        """Judge one picture, `preprocess`'s output."""
        outputs = self._request.infer([pixels_HWC[None]], share_inputs=True)
        features_CHW = outputs[1][0].astype(np.float64)
        return QualityMap(
            quality=float(outputs[0][0]),
            logits=np.tensordot(self._weight, features_CHW, axes=1) + self._bias,
        )


def not_linear(found: str) -> ImageRejected:
    """Return the refusal of a model that has no exact map."""
    return ImageRejected(
        "no_quality_map",
        f"model: expected a head that is linear on the average over places, got {found}. "
        "This model has scores and no map: use /predictions.",
    )


def _linear_head(model: Model) -> tuple[Output, NDArray[np.float64], float]:
    """
    Walk from the quality back to the average over places.

    Returns:
        The features that are averaged, the head's weight (C,) and its bias.
    """
    node = model.outputs[0].get_node().input_value(0).get_node()
    if node.get_type_name() != "Sigmoid":
        raise not_linear(f"{node.get_type_name()} at its end")
    node = node.input_value(0).get_node()
    weight, factor, bias = None, 1.0, 0.0
    while node.get_type_name() != "ReduceMean":
        kind, data = node.get_type_name(), 0
        if kind == "MatMul" and weight is None:
            weight = factor * _constant(node.input_value(1)).flatten()
        elif kind in ("Add", "Multiply") and weight is None:
            data = 0 if _depends_on_pixels(node.input_value(0).get_node()) else 1
            values = _constant(node.input_value(1 - data))
            if values.size > 1:
                raise not_linear(f"{values.size} outputs")
            constant = float(values.item())
            if kind == "Add":
                bias += factor * constant
            else:
                factor *= constant
        elif kind not in STRAIGHT:
            raise not_linear(f"{kind} before its end")
        node = node.input_value(data).get_node()
    features = node.input_value(0)
    axes = {int(axis) % 4 for axis in _constant(node.input_value(1)).flatten()}
    if weight is None or axes != PLACES or features.partial_shape[1] != len(weight):
        raise not_linear(f"an average over axes {sorted(axes)} of {features.partial_shape}")
    return features, weight, bias


def _depends_on_pixels(node: Node) -> bool:
    seen, waiting = set(), [node]
    while waiting:
        found = waiting.pop()
        if found.get_type_name() == "Parameter":
            return True
        for value in found.input_values():
            before = value.get_node()
            if before.get_name() not in seen:
                seen.add(before.get_name())
                waiting.append(before)
    return False


def _constant(output: Output) -> NDArray[np.float64]:
    """Compute what does not depend on the picture: weights may be stored in 8 or 16 bits."""
    import openvino

    folded = openvino.Model([output], [])
    request = openvino.compile_model(folded, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(request([])[0], dtype=np.float64)
