"""
Measure one model on one split.

Pictures go through the serving preprocessing, whole. Works on any rated photographs of your own,
a CSV with the columns image_name and mos:
`--dataset csv --labels FILE --data-dir DIR --mos-range LOW HIGH`.
With `--explain FOLDER` it needs no ratings: it compares the network's map with occlusion.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from console.numbers import whole_number
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import ALL, SPLITS


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
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=16, help="(default: %(default)s)"
    )
    command_line.add_workers(parser)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch, MLflow and OpenVINO take seconds: only once the options are right.
        from training.experiments.evaluate import evaluate, explain_folder

        if arguments.explain is not None:
            return explain_folder(
                arguments.model, arguments.explain, arguments.out,
                graph=arguments.graph, limit=arguments.limit,
            )  # fmt: skip
        evaluate(
            arguments.model,
            data_config(arguments),
            arguments.split,
            arguments.out,
            graph=arguments.graph,
            device_name=arguments.device,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
        )
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
