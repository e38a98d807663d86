"""
Measure what each part of a training recipe is worth.

The recipe is trained once as it is and once for each change; all are compared on the validation
images, or on a set of images that is left out of training, by a bootstrap that draws the same
images for both. The test split is not looked at and nothing is registered. An ablation continues
where it stopped, as a sweep does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.data.config import add_options
from training.experiments.ablation_rows import CHANGES, Variant
from training.loop.config import TrainConfig, train_config


def main(argv: list[str] | None = None) -> int:
    """Run an ablation from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.ablation",
        description="Train the recipe, and the recipe with one thing changed, on the same "
        "images; compare them on validation. The options are training.train's: they are the "
        "recipe.",
        epilog="Does it hold elsewhere? --leave-out 'ss03*' trains without BIQ2021's third set and "
        "compares on that.",
    )
    parser.add_argument(
        "--changes", nargs="+", type=Variant.parse, metavar="NAME:SETTING=VALUE",
        default=[Variant.parse(text) for text in CHANGES],
        help="what to try (default: " + ", ".join(f"'{text}'" for text in CHANGES) + ")",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", nargs="+", metavar="PATTERN", default=[],
        help="train and validate without the images whose names are of these patterns, and compare "
        "on those",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder (default: runs/ablation-DATASET)")
    own = ("out", "resume", "restart", "alias", "model_name")
    add_options(parser, TrainConfig, without=own)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch and MLflow take seconds: only once the options are right.
        from training.experiments.ablation import ablate

        return ablate(train_config(arguments), arguments.changes, arguments.leave_out)

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
