"""
Run the nine experiments and say which is best.

Three backbones times three settings of learning rate and epochs: one parent run in MLflow, one
child run and one registered version a cell. A sweep continues where it stopped: `sweep.json` in
its folder holds the finished cells, an interrupted cell goes on from its own saved state.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.data.config import add_options
from training.experiments.sweep_cells import (
    ALL_CELLS,
    OWN_OPTIONS,
    Cell,
    cells_for,
    parse_weights_of,
)
from training.loop import defaults
from training.loop.config import TrainConfig, train_config


def main(argv: list[str] | None = None) -> int:
    """Run a sweep from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.sweep",
        description="Run the nine experiments, or go on with them, and rank what they gave by "
        "validation. All options of training.train that a cell does not set are accepted; "
        "--alias goes to the best cell at the end, if it beats the alias's holder.",
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        type=Cell.parse,
        metavar="BACKBONE:LR:EPOCHS",
        help="run these (default: " + " ".join(map(str, ALL_CELLS)) + "; of small images both "
        "small networks at three rates)",
    )
    parser.add_argument(
        "--weights-of",
        action="append",
        type=parse_weights_of,
        default=[],
        metavar="BACKBONE=VALUE",
        help="--weights for one backbone; may be given for each (default: --weights)",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the sweep (default: runs/sweep-DATASET)"
    )
    parser.add_argument("--run-name", help="MLflow name of the parent run (default: sweep-DATASET)")
    add_options(parser, TrainConfig, without=OWN_OPTIONS)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = defaults.parsed(parser, argv)

    def command() -> int:
        # Torch and MLflow take seconds: only once the options are right.
        from training.experiments.sweep import sweep

        config = train_config(arguments)
        cells = arguments.cells or list(cells_for(config.backbone, config.lr, config.epochs))
        best = sweep(config, cells, dict(arguments.weights_of))
        print(
            f"next: python -m scripts.build_mar --model-name {best.name} --version {best.version}"
        )
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
