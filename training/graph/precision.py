"""
Graphs of lower precision, and the gate that they must pass before they are packed.

f32 is exact and always there. bf16 and int8 are faster on many CPUs; each is made from real
training pictures, measured on the whole validation set against torch in float32, and refused
where it changes the ranking or the scores by more than the gate allows. What passed is stored
beside the model, so that a later build repeats it without the data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from iqa.imaging.preprocessing import DEFAULT, Policy, input_size
from iqa.network import checkpoint
from iqa.network.model import ImageNetwork, Network
from iqa.network.runtime import GRAPH_FILE, QUANTISED_GRAPH_FILE, OpenVINORuntime, Runtime
from torch import Tensor

from training.data.images import read_damaged_copy, read_pixels
from training.data.ratings import Ratings, Split
from training.graph import export
from training.graph.quantisation import quantise
from training.graph.rounding import rounded
from training.measure.predict import graph_predictor, predict, torch_predictor
from training.tasks.task import TrainingTask

logger = logging.getLogger(__name__)

GATE_FILE: Final = "gate.json"
MAX_DROP: Final = 0.002
"""Largest drop of the task's leading metric, which is at most 1."""
MIN_SHARE_WITHIN: Final = 0.99
MAX_POINTS: Final = {"bf16": 0.5, "int8": 1.0}
CALIBRATION_PICTURES: Final = {"bf16": 60, "int8": 300}
# Clients send worse pictures than people rate: a graph rounded on these alone is further off where
# the score is low. Quantisation takes the rated ones only, its ranges are those of the data.
DAMAGED_EVERY: Final = {"bf16": 3}
TIMED_RUNS: Final = 20


@dataclass(frozen=True, kw_only=True)
class Gate:
    """
    How close a graph comes to torch in float32, on validation pictures.

    Attributes:
        precision: bf16 or int8.
        pictures: How many were scored.
        validation_digest: Digest of the validation images' names and targets.
        weights_sha256: Digest of the checkpoint that the graph was made from.
        graph_sha256: Digests of the graph's files, by name.
        metric: The task's leading one; the file has its name for `value` and `value_f32`.
        value_f32: The metric of the torch network.
        value: The metric of the graph.
        max_points: How far an answer may move, in hundredths of the scale.
        share_within: Share of the answers that move no further.
        points_p99: 99th percentile of how far they move.
    """

    precision: str
    pictures: int
    validation_digest: str
    weights_sha256: str
    graph_sha256: dict[str, str]
    metric: str
    value_f32: float
    value: float
    max_points: float
    share_within: float
    points_p99: float

    @property
    def passed(self) -> bool:
        """Tell whether the graph may be packed."""
        drop = self.value_f32 - self.value
        return drop <= MAX_DROP and self.share_within >= MIN_SHARE_WITHIN

    def sentence(self) -> str:
        """Return both numbers and their bounds."""
        return (
            f"{self.metric.upper()} {self.value:.4f} against {self.value_f32:.4f} in float32 (may "
            f"drop {MAX_DROP}), {100 * self.share_within:.1f} % of {self.pictures} scores within "
            f"{self.max_points:g} point (at least {100 * MIN_SHARE_WITHIN:g} %; 99th percentile "
            f"{self.points_p99:.2f})"
        )

    def document(self) -> dict[str, Any]:
        """Return the gate as JSON."""
        document = dataclasses.asdict(self)
        key = document.pop("metric")
        return document | {key: document.pop("value"), f"{key}_f32": document.pop("value_f32")}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Gate:
        """Return the gate that `document` described."""
        key = next(name for name in document if name.endswith("_f32")).removesuffix("_f32")
        facts = {name: value for name, value in document.items() if not name.startswith(key)}
        return cls(metric=key, value=document[key], value_f32=document[f"{key}_f32"], **facts)


def make(
    precision: str,
    task: TrainingTask,
    network: Network,
    weights_sha256: str,
    data: Ratings,
    folder: Path,
) -> Gate:
    """
    Make a graph of lower precision and measure it.

    Args:
        precision: bf16 or int8.
        task: The network's task.
        network: In evaluation mode, on the CPU.
        weights_sha256: Digest of its checkpoint.
        data: Calibrated on pictures of its training split, measured on all of validation.
        folder: Empty; gets the graph's files and `gate.json`.

    Returns:
        The measurement; whether it passed is for the caller to ask.

    Raises:
        ValueError: A user's own network in bf16.
    """
    if precision == "bf16" and not isinstance(network, ImageNetwork):
        raise ValueError(
            f"precision bf16: expected a network of this project, whose layers are known, got "
            f"{network.backbone}. Use f32, int8 or auto."
        )
    started_s = time.monotonic()
    pictures = _calibration_pictures(data.split("train"), precision)
    if precision == "bf16":
        assert isinstance(network, ImageNetwork)  # checked above
        export.export_bf16(rounded(network, pictures), folder / GRAPH_FILE)
    else:
        quantise(network, pictures, folder / QUANTISED_GRAPH_FILE)
    gate = _measure(precision, folder, task, network, weights_sha256, data.split("val"))
    (folder / GATE_FILE).write_text(json.dumps(gate.document(), indent=2, sort_keys=True) + "\n")
    logger.info("%s: %s; %.0f s", precision, gate.sentence(), time.monotonic() - started_s)
    return gate


def read_gate(folder: Path, weights_sha256: str) -> Gate:
    """
    Read what `make` wrote, and check that nothing was changed since.

    Raises:
        ValueError: The graph is not the one that was measured, or was made from other weights.
    """
    document: dict[str, Any] = json.loads((folder / GATE_FILE).read_text())
    gate = Gate.of_document(document)
    if gate.weights_sha256 != weights_sha256:
        raise ValueError(
            f"{folder.name}: expected a graph of the weights {weights_sha256[:12]}, got one of "
            f"{gate.weights_sha256[:12]}. Make it again: give build_mar the data, --data-dir DIR."
        )
    for name, expected in gate.graph_sha256.items():
        got = checkpoint.sha256_of(folder / name)
        if got != expected:
            raise ValueError(
                f"{folder.name}/{name}: expected sha256 {expected}, got {got}. It was altered or "
                "cut. Make it again: give build_mar the data, --data-dir DIR."
            )
    return gate


def open_graph(folder: Path, precision: str, threads: int = 1) -> Runtime:
    """Open the graph of a folder as it will be served."""
    graph = QUANTISED_GRAPH_FILE if precision == "int8" else GRAPH_FILE
    return OpenVINORuntime(folder / graph, threads, precision)


def ms_per_picture(runtime: Runtime, policy: Policy = DEFAULT) -> float:
    """Return the median CPU time of one photograph of 4 to 3, milliseconds."""
    width, height = input_size(4000, 3000, policy)
    shape = (1, height, width, policy.n_channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    times = []
    for _ in range(TIMED_RUNS):
        started_s = time.process_time()
        runtime.outputs(pixels)
        times.append(time.process_time() - started_s)
    return 1000 * float(np.median(times))


def _calibration_pictures(split: Split, precision: str) -> list[Tensor]:
    """Pick pictures evenly, and damage some of them; the same each time."""
    n, every = CALIBRATION_PICTURES[precision], DAMAGED_EVERY.get(precision)
    pictures = []
    for place, index in enumerate(np.linspace(0, len(split) - 1, min(n, len(split))).astype(int)):
        is_damaged = every is not None and place % every == 0
        read = read_damaged_copy if is_damaged else read_pixels
        pictures.append(torch.from_numpy(read(split, int(index)).copy()))
    return pictures


def _measure(
    precision: str,
    folder: Path,
    task: TrainingTask,
    network: Network,
    weights_sha256: str,
    split: Split,
) -> Gate:
    runtime = open_graph(folder, precision, threads=torch.get_num_threads())
    predictor = torch_predictor(network, torch.device("cpu"))
    expected = predict(predictor, split, title="torch f32")
    # One at a time, as the server does.
    got = predict(graph_predictor(runtime), split, batch_size=1, title=precision)
    difference = task.differences(expected, got)
    key, max_points = task.leading.key, (task.max_points or MAX_POINTS)[precision]
    return Gate(
        precision=precision,
        pictures=len(split),
        validation_digest=split.digest(),
        weights_sha256=weights_sha256,
        graph_sha256={
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.glob("model.*"))
        },
        metric=key,
        value_f32=round(task.metrics(expected, split.target)[key], 5),
        value=round(task.metrics(got, split.target)[key], 5),
        max_points=max_points,
        share_within=round(float(np.mean(difference <= max_points)), 5),
        points_p99=round(float(np.quantile(difference, 0.99)), 4),
    )
