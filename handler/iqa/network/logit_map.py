"""
Where an output comes from: a logit for each place, whose mean is the logit of the whole image.

For one output it is the quality map; for one of several classes, the class activation map (Zhou,
Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR
2016). Exact, not an estimate: the head is linear on the average over the places, so the average may
as well be taken after it. Holds for any network that ends so; another one is refused. The features
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

# What may lie between the average over places and the outputs, beside the head: nothing that
# bends, and nothing that rounds.
STRAIGHT: Final = ("Reshape", "Squeeze", "Convert")
ENDS: Final = ("Sigmoid", "Softmax")
PLACES: Final = {2, 3}
"""Axes of the features (N, C, H, W) over which the average is taken."""


@dataclass(frozen=True, kw_only=True)
class LogitMap:
    """
    What the network says of an image, and the places' share in one of its outputs.

    Attributes:
        outputs: float32, in [0, 1], not calibrated: shape () for one output, else (K,).
        logits: float64, shape (rows, columns), signed. Their mean is the logit of the output: a
            place above it lifts the output, one below it lowers it. Row by row from the top left;
            each place looks at an area around it that is much larger than its share. Of several
            classes it is the logit less the mean of all classes' logits, at each place: a softmax
            tells only such differences.
        output: Which of the outputs: 0 where there is one.
    """

    outputs: NDArray[np.float32]
    logits: NDArray[np.float64]
    output: int = 0

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

    def __call__(self, pixels_HWC: NDArray[np.uint8], output: int | None = None) -> LogitMap:
        """Judge one image, `preprocess`'s output; None explains the greatest output."""
        found = self._request.infer([pixels_HWC[None]], share_inputs=True)
        outputs = np.asarray(found[0][0])
        chosen = int(outputs.argmax()) if output is None else output
        features_CHW = found[1][0].astype(np.float64)
        logits = np.tensordot(self._weight[chosen], features_CHW, axes=1) + self._bias[chosen]
        return LogitMap(outputs=outputs, logits=logits, output=chosen)


def among_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean over the classes of a softmax, the first axis."""
    return np.asarray(values - values.mean(axis=0))


def not_linear(found: str) -> ImageRejected:
    """Return the refusal of a model that has no exact map."""
    return ImageRejected(
        "no_quality_map",
        f"model: expected a head that is linear on the average over places, got {found}. "
        "This model has answers and no map: use /predictions.",
    )


def _linear_head(model: Model) -> tuple[Output, NDArray[np.float64], NDArray[np.float64]]:
    """
    Walk from the outputs back to the average over places.

    Returns:
        The features that are averaged, the head's weight (K, C) and its bias (K,); of a softmax
        those `among_classes`.
    """
    node = model.outputs[0].get_node().input_value(0).get_node()
    end = node.get_type_name()
    if end not in ENDS:
        raise not_linear(f"{end} at its end")
    node = node.input_value(0).get_node()
    weight, factor, bias = None, np.ones(1), np.zeros(1)
    while node.get_type_name() != "ReduceMean":
        kind, data = node.get_type_name(), 0
        if kind == "MatMul" and weight is None:
            weight = factor[:, None] * _rows(node)
        elif kind in ("Add", "Multiply") and weight is None:
            data = 0 if _depends_on_pixels(node.input_value(0).get_node()) else 1
            values = _constant(node.input_value(1 - data)).flatten()
            if kind == "Add":
                bias = bias + factor * values
            else:
                factor = factor * values
        elif kind not in STRAIGHT:
            raise not_linear(f"{kind} before its end")
        node = node.input_value(data).get_node()
    features = node.input_value(0)
    axes = {int(axis) % 4 for axis in _constant(node.input_value(1)).flatten()}
    if weight is None or axes != PLACES or features.partial_shape[1] != weight.shape[1]:
        raise not_linear(f"an average over axes {sorted(axes)} of {features.partial_shape}")
    n_outputs = len(weight)
    if bias.size not in (1, n_outputs):
        raise not_linear(f"{bias.size} biases for {n_outputs} outputs")
    bias = np.broadcast_to(bias, (n_outputs,))
    if end == "Softmax":
        weight, bias = among_classes(weight), among_classes(bias)
    return features, weight, bias


def _rows(product: Node) -> NDArray[np.float64]:
    """Return the weight of a product (N, C) x weight with a row for each output."""
    weight = _constant(product.input_value(1))
    if weight.ndim == 1:
        return weight[None]
    return weight if product.get_attributes()["transpose_b"] else weight.T


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
    """
    Compute what does not depend on the picture: weights may be stored in 8 or 16 bits.

    Raises:
        ImageRejected: It does depend on it (404).
    """
    import openvino

    if _depends_on_pixels(output.get_node()):
        raise not_linear("two operands that depend on the picture")
    folded = openvino.Model([output], [])
    request = openvino.compile_model(folded, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(request([])[0], dtype=np.float64)
