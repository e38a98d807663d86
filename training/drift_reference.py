"""
Make the reference that drift is measured against, and write it into a checkpoint's card.

Of rated or unrated pictures, or of a server's prediction log. `build_mar` packs it with the card;
a server whose archive has one counts its pictures against it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from iqa.drift.measures import FILE, NAMES

from console import command_line
from console.numbers import number
from training.data.config import DataConfig, add_options
from training.data.dataset_layouts import ALL, SPLITS
from training.drift.fit import FALSE_ALARMS

EXAMPLES = """
examples:
  python -m training.drift_reference --checkpoint training/pretrained --dataset biq2021 \\
    --data-dir data/biq2021 --graph training/pretrained/precision/bf16 \\
    --untested megapixels aspect format
  python -m training.drift_reference --checkpoint my-model --pictures photographs

--untested is for pictures that do not tell what a server will be sent: nearly all
of BIQ2021 are 512 x 512, and all of them JPEG.
A registered version is not changed: register the folder again, python -m
scripts.register_pretrained. How to read what a server then reports: docs/drift.md.
"""


def main(argv: list[str] | None = None) -> int:
    """Make a reference from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.drift_reference",
        description="Measure pictures as the server does, and write into a checkpoint's card how "
        "each measure is spread: what a server's traffic is compared with.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder whose model.json is written"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER",
        help="unrated pictures, at any depth, in place of a data set",
    )  # fmt: skip
    add_options(parser, DataConfig, without=("limit",))
    parser.add_argument(
        "--split", default="train", choices=[*SPLITS, ALL],
        help="part of the data set (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most so many pictures, by a hash (default: all)"
    )
    parser.add_argument(
        "--graph", type=Path,
        help="folder of the graph that is served (default: the checkpoint's own in float32)",
    )  # fmt: skip
    parser.add_argument(
        "--untested", nargs="*", default=[], choices=NAMES, metavar="MEASURE",
        help=f"measures to count and not to test, such as {' '.join(FILE)}",
    )  # fmt: skip
    parser.add_argument(
        "--false-alarms", type=number(above=0, below=1), default=FALSE_ALARMS,
        help="probability that a window in which nothing moved is said to have moved "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--measured", type=Path, default=Path("build/drift"), metavar="FOLDER",
        help="folder that keeps what was measured, to stop and continue (default: %(default)s)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch takes seconds: only once the options are right.
        from training.drift.make_reference import make_reference

        make_reference(arguments)
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
