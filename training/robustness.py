"""
Measure how the score behaves when an image is changed.

Blur, noise, JPEG, down-scaling and exposure at five levels: does a worse picture get a lower
score? Mirrored, saved again, sent smaller or larger: does the same picture get the same score?
No ratings are needed. `training.experiments.robustness` makes the pictures and scores them as the
server does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from console.numbers import number
from training.experiments.robustness_table import TOLERANCE


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness",
        description="Change pictures in known ways and see what the score does: share of pairs "
        "in the right order under growing distortion, difference under mirroring, saving "
        "again and other sizes.",
        epilog="Example: python -m training.robustness --model training/pretrained "
        "--pictures photographs --out robustness.json",
    )
    parser.add_argument("--model", required=True, help="as for training.evaluate")
    parser.add_argument(
        "--pictures", type=Path,
        help="folder of good photographs, both sides at least 64 pixels "
        "(default: six that installed packages ship)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("robustness.json"),
        help="file of the figures; the table (.md) and the plot (.png) are written beside it "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=number(at_least=0), default=TOLERANCE, metavar="POINTS",
        help="what a worse picture may gain and still count as ordered (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch, MLflow and OpenVINO take seconds: only once the options are right.
        from training.experiments.robustness import measure

        measure(
            arguments.model,
            arguments.pictures,
            arguments.out,
            tolerance=arguments.tolerance,
            seed=arguments.seed,
        )
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
