"""
Measure one model on one split: `python -m training.evaluate --help`.

Pictures go through the serving preprocessing, whole. Works on any rated photographs of your own,
a CSV with the columns image_name and mos:
`--dataset csv --labels FILE --data-dir DIR --mos-range LOW HIGH`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from iqa import checkpoint
from iqa.model import QualityNetwork
from numpy.typing import NDArray

from training import command_line, plots, ratings, registry
from training.config import DataConfig, add_options, data_config
from training.device import choose_device
from training.layouts import SPLITS
from training.metrics import agreement, error_by_band, intervals
from training.predict import predict, torch_judge
from training.ratings import ALL, Ratings, Split
from training.tracking_uri import connect

logger = logging.getLogger(__name__)

WORST_SHOWN = 10


def main(argv: list[str] | None = None) -> int:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measure a model on rated pictures: SROCC, PLCC, KROCC, MAE, RMSE, with 95 %% "
        "bootstrap intervals, error by score band, the worst ten, and a plot.",
        epilog="Example: python -m training.evaluate --model training/pretrained --dataset biq2021 "
        "--data-dir data/biq2021 --split test --out metrics.json",
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
        help="file of the metrics; the plot and the worst ten are written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        network, card = load_model(arguments.model)
        needed = () if arguments.split == ALL else (arguments.split,)
        data = ratings.load(data_config(arguments), needed)
        split = data.split(arguments.split)
        device = choose_device(arguments.device)
        quality = predict(
            torch_judge(network.to(device), device),
            split,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            title=f"{card['architecture']['backbone']} on {arguments.split}",
        )
        _report(quality, data, arguments)
        return 0

    return command_line.run(command, arguments.debug)


def load_model(model: str) -> tuple[QualityNetwork, checkpoint.Card]:
    """
    Load a checkpoint from a folder or from the registry.

    Raises:
        ValueError: There is none under that name, or it is refused.
    """
    if Path(model).is_dir():
        return checkpoint.load(Path(model))
    connect()
    version = registry.version_of_uri(model)
    with tempfile.TemporaryDirectory() as directory:
        folder = registry.download(str(version.name), str(version.version), Path(directory))
        return checkpoint.load(folder)


def _report(quality: NDArray[np.float64], data: Ratings, arguments: argparse.Namespace) -> None:
    split = data.split(arguments.split)
    measured: dict[str, Any] = {
        "dataset": data.name,
        "mos_range": list(data.mos_range),
        "split": arguments.split,
        "is_official_split": data.is_official,
        **agreement(quality, split.quality),
        **intervals(quality, split.quality),
    }
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(measured, indent=2, sort_keys=True) + "\n")
    plots.predicted_against_rated(quality, split.quality, arguments.split).savefig(
        out.with_suffix(".png"), dpi=120
    )
    worst = _worst(quality, split)
    worst.to_csv(out.with_suffix(".worst.csv"), index=False)

    for name in ("srocc", "plcc", "krocc", "mae", "rmse", "mae_100", "rmse_100"):
        interval = measured.get(f"{name}_ci95")
        text = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
        print(f"{name:<9} {measured[name]:8.4f}{text}")
    print(f"{'n':<9} {len(split):8d}")
    print("\nerror by band of the rating, in points:")
    print(_table(pd.DataFrame(error_by_band(quality, split.quality))))
    print(f"\nthe {len(worst)} pictures with the largest error:")
    print(_table(worst))
    print(f"\nwritten: {out}, {out.with_suffix('.png')}, {out.with_suffix('.worst.csv')}")


def _worst(quality: NDArray[np.float64], split: Split) -> pd.DataFrame:
    error = 100 * (quality - split.quality)
    order = np.argsort(-np.abs(error))[:WORST_SHOWN]
    return pd.DataFrame(
        {
            "image_name": [split.names[i] for i in order],
            "score": 100 * quality[order],
            "rated": 100 * split.quality[order],
            "error": error[order],
        }
    )


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.1f}".format)


if __name__ == "__main__":
    sys.exit(main())
