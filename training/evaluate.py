"""
Measure one model on one split.

Pictures go through the serving preprocessing, whole. Works on any rated photographs of your own,
a CSV with the columns image_name and mos:
`--dataset csv --labels FILE --data-dir DIR --mos-range LOW HIGH`.
With `--explain FOLDER` it needs no ratings: it compares the network's map with occlusion.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from iqa.network import checkpoint
from iqa.network.model import Network
from iqa.network.runtime import GRAPH_FILE, Runtime

from console import command_line
from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import SPLITS
from training.data.ratings import ALL
from training.graph import precision
from training.graph.export import export_onnx
from training.measure import explain
from training.measure.predict import graph_predictor, predict, torch_predictor
from training.networks import by_name as networks
from training.registry import model_versions
from training.registry.address import connect
from training.tasks.task_table import training_task_of


def main(argv: list[str] | None = None) -> int:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measure a model on rated pictures: SROCC, PLCC, KROCC, MAE, RMSE, raw and "
        "calibrated, with 95 % bootstrap intervals, error by score band and label, coverage of "
        "the interval, the worst ten, and plots.",
        epilog="Example: python -m training.evaluate --model training/pretrained --dataset biq2021 "
        "--data-dir data/biq2021 --split test --graph training/pretrained/precision/bf16 "
        "--out metrics.json",
    )
    parser.add_argument(
        "--model", required=True,
        help="folder with a checkpoint, models:/NAME/VERSION or models:/NAME@ALIAS",
    )  # fmt: skip
    add_options(parser, DataConfig)
    parser.add_argument(
        "--split", default="test", choices=[*SPLITS, ALL],
        help="all takes the three together (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("metrics.json"),
        help="file of the metrics; the plots and the worst ten are written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--graph", type=Path,
        help="folder of a graph made from this model, to measure beside it as it is served: "
        "pictures one by one, in OpenVINO, in the precision that its gate.json names (f32 where "
        "there is none)",
    )  # fmt: skip
    parser.add_argument(
        "--explain", type=Path, metavar="FOLDER",
        help="instead of measuring: explain the pictures of this folder twice, by the map of the "
        "score or of the likeliest class and by occlusion, which takes a minute for ten, and write "
        "their rank correlation and a page of overlays; --limit takes the first so many",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode (default: %(default)s)"
    )
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        network, card = load_model(arguments.model)
        if arguments.explain is not None:
            with _graph(network, arguments.graph) as runtime:
                return explain.explain(
                    runtime, card, arguments.explain, arguments.out, arguments.limit
                )
        needed = () if arguments.split == ALL else (arguments.split,)
        task, policy = training_task_of(card), checkpoint.policy_of(card)
        data = ratings.load(data_config(arguments), needed, task.targets_of(card), policy)
        split = data.split(arguments.split)
        device = choose_device(arguments.device)
        outputs = predict(
            torch_predictor(network.to(device), device),
            split,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            title=f"{card['architecture']['backbone']} on {arguments.split}",
        )
        served = None
        if arguments.graph is not None:
            with _graph(network, arguments.graph) as runtime:
                served = predict(
                    graph_predictor(runtime),
                    split,
                    batch_size=1,  # as the server does
                    workers=arguments.workers,
                    title="graph",
                )
        found: dict[str, Any] = {
            "dataset": data.name,
            **({} if data.mos_range is None else {"mos_range": list(data.mos_range)}),
            "split": arguments.split,
            "is_official_split": data.is_official,
            "weights_sha256": card["weights_sha256"],
            **task.evaluate(outputs, split.target, card, served),
        }
        task.report(found, outputs, split, card, arguments.out)
        return 0

    return command_line.run(command, arguments.debug)


def load_model(model: str) -> tuple[Network, checkpoint.Card]:
    """
    Load a checkpoint from a folder or from the registry.

    Raises:
        ValueError: There is none under that name, or it is refused.
    """
    if Path(model).is_dir():
        return networks.load(Path(model))
    connect()
    version = model_versions.version_of_uri(model)
    with tempfile.TemporaryDirectory() as directory:
        folder = model_versions.download(str(version.name), str(version.version), Path(directory))
        return networks.load(folder)


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


if __name__ == "__main__":
    sys.exit(main())
