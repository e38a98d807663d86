"""
Fit a checkpoint's calibration and interval.

Both are fitted on validation images and written into the card; the weights stay. How:
`training.measure.score_scale`. `training.train` does the same at the end of a run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from iqa.drift.reference import DRIFT

from console import command_line
from console.numbers import number, whole_number
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import ALL, SPLITS
from training.measure.conformal import BANDS, COVERAGE


def main(argv: list[str] | None = None) -> int:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate",
        description="Fit on validation pictures how the network's quality becomes a score that is "
        "right on average, and how far a rating may lie from it; write both into the card. Prints "
        "the error raw and calibrated, by score band and by label.",
        epilog="Example: python -m training.calibrate --checkpoint training/pretrained --dataset "
        "biq2021 --data-dir data/biq2021. A registered version is not changed: register the "
        "folder again, python -m scripts.register_pretrained.",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder whose model.json is written"
    )
    add_options(parser, DataConfig)
    parser.add_argument(
        "--split", default="val", choices=[*SPLITS, ALL],
        help="pictures to fit on; those that the card was trained or tested on are refused "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--coverage", type=number(above=0, below=1), default=COVERAGE,
        help="share of ratings that shall lie in their interval (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--bands", type=whole_number(1), default=BANDS,
        help="score bands of about as many pictures, each with an interval width of its own "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("calibration.json"),
        help="file of the figures; the reliability plot (.svg) is written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    command_line.add_workers(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch and matplotlib take seconds: only once the options are right.
        from training.measure.calibrate_checkpoint import calibrate
        from training.networks import by_name as networks

        network, card = networks.load(arguments.checkpoint)
        changed = calibrate(
            arguments.checkpoint,
            network,
            card,
            data_config(arguments),
            arguments.split,
            arguments.out,
            coverage=arguments.coverage,
            bands=arguments.bands,
            device_name=arguments.device,
            workers=arguments.workers,
        )
        if DRIFT in card and DRIFT not in changed:
            print("the reference for drift was of other scores: python -m training.drift_reference")
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
