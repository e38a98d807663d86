"""One model measured on one split, or its pictures explained: in torch, and as it is served."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from iqa.network import checkpoint
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, Runtime

from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig
from training.data.dataset_layouts import ALL
from training.graph import precision
from training.graph.export import export_onnx
from training.measure import explain
from training.measure.predict import graph_predictor, predict, torch_predictor
from training.registry.load_model import load_model
from training.tasks.task_table import training_task_of


def evaluate(
    model: str,
    config: DataConfig,
    split_name: str,
    out: Path,
    *,
    graph: Path | None,
    device_name: str,
    batch_size: int,
    workers: int,
) -> None:
    """
    Measure a model on a split; print and write what was found.

    Args:
        model: As `load_model` takes it.
        config: Which images.
        split_name: train, val, test, or all for the three together.
        out: File of the metrics; the plots and the worst ten are written beside it.
        graph: Folder of a graph made from this model, to measure beside it.
        device_name: auto, cpu or cuda.
        batch_size: Pictures that the network sees at a time.
        workers: Processes that decode.

    Raises:
        ValueError: There is no such model or device, or the data's checks failed.
        FileNotFoundError: Images, labels or the graph are missing.
    """
    network, card = load_model(model)
    needed = () if split_name == ALL else (split_name,)
    task, policy = training_task_of(card), checkpoint.policy_of(card)
    data = ratings.load(config, needed, task.targets_of(card), policy)
    split = data.split(split_name)
    device = choose_device(device_name)
    outputs = predict(
        torch_predictor(network.to(device), device),
        split,
        batch_size=batch_size,
        workers=workers,
        title=f"{card['architecture']['backbone']} on {split_name}",
    )
    served = None
    if graph is not None:
        with _graph(network, graph) as runtime:
            served = predict(
                graph_predictor(runtime),
                split,
                batch_size=1,  # as the server does
                workers=workers,
                title="graph",
            )
    found: dict[str, Any] = {
        "dataset": data.name,
        **({} if data.mos_range is None else {"mos_range": list(data.mos_range)}),
        "split": split_name,
        "is_official_split": data.is_official,
        "weights_sha256": card["weights_sha256"],
        **task.evaluate(outputs, split.target, card, served),
    }
    task.report(found, outputs, split, card, out)


def explain_folder(
    model: str, folder: Path, out: Path, *, graph: Path | None, limit: int | None
) -> int:
    """Explain the pictures of a folder by a model's own graph or a given one; the exit status."""
    network, card = load_model(model)
    with _graph(network, graph) as runtime:
        return explain.explain(runtime, card, folder, out, limit)


@contextmanager
def _graph(network: Network, folder: Path | None) -> Iterator[Runtime]:
    """Open the graph of a folder; without one, the network's own in float32."""
    threads = torch.get_num_threads()
    if folder is not None:
        path = folder / precision.GATE_FILE
        name = json.loads(path.read_text())["precision"] if path.exists() else "f32"
        yield precision.open_graph(folder, name, threads)
        return
    with tempfile.TemporaryDirectory() as directory:
        export_onnx(network, Path(directory) / GRAPH_FILE)
        yield precision.open_graph(Path(directory), "f32", threads)
