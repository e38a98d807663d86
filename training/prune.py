"""
Make a narrower network of a trained one: fewer hidden channels, fitted by least squares.

Minutes, and no gradient. What is lost is then mostly won back by an epoch or two of
`training.train` with the whole network as the teacher; the end of the command names the call.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.data.config import DataConfig, add_options


def main(argv: list[str] | None = None) -> int:
    """Prune from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.prune",
        description="Make a narrower network of a trained one: fewer hidden channels in each block "
        "of MobileNetV2, those that stay fitted by least squares to do what all did.",
        epilog="Example: python -m training.prune --checkpoint training/pretrained --dataset "
        "biq2021 --data-dir data/biq2021 --keep 0.5 --out build/narrow. Then train it: python -m "
        "training.train --weights build/narrow/model.safetensors --keep-head --teacher "
        "training/pretrained ...",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder of the trained network"
    )
    add_options(parser, DataConfig)
    parser.add_argument(
        "--keep", type=float, default=0.5, metavar="SHARE",
        help="share of the hidden channels that stay, in each block (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--hidden-channels", type=_numbers, metavar="N,N,...",
        help="how many stay in each block, instead of --keep",
    )  # fmt: skip
    parser.add_argument(
        "--area-px", type=int,
        help="area of the network's input, also of the images that it is fitted on (default: the "
        "checkpoint's)",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=int, default=200,
        help="training images of one size to fit on; 15 MB of memory each (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/narrow"),
                        help="folder of the new checkpoint (default: %(default)s)")  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch takes seconds: only once the options are right.
        from training.experiments.pruned_checkpoint import write_pruned

        write_pruned(arguments)
        return 0

    return command_line.run(command, arguments.debug)


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers between commas; for argparse."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers between commas, got {text!r}."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
