"""
Make a synthetic rated data set.

For tests and for trying the pipeline without KonIQ-10k, in its layout. Photographs that
scikit-image and scikit-learn ship are distorted (`training.data.distortions`) and rated by three
full-reference metrics; nobody has looked at them. The same photographs are in all three splits,
and so are all kinds of distortion (from 110 pictures on): an SROCC on this data says that the
pipeline works, and nothing about quality. Never compare it with a published figure.

With `--task handwriting`: lines of text drawn with the fonts of this machine, printed or as if by
hand (`training.data.demo_lines`), in the layout of the data set `handwriting`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.data.demo_choices import MIN_PICTURES, QUALITY


def main(argv: list[str] | None = None) -> int:
    """Make the data set from the command line; 0 done, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m training.demo_data",
        description="Make a synthetic rated data set in KonIQ-10k's layout, for tests and for "
        "trying the pipeline: distorted photographs with a pseudo-MOS from full-reference "
        "metrics. Or, with --task handwriting, lines of text drawn with Debian's fonts. "
        "Never compare a figure measured on it with a published one.",
        epilog="Lines of text: python -m training.demo_data --task handwriting --pictures 4000 "
        "--out demo/handwriting",
    )
    parser.add_argument(
        "--task", choices=sorted(MIN_PICTURES), default=QUALITY,
        help="quality: distorted photographs with ratings; handwriting: text lines, printed or "
        "handwritten (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder to make; an earlier synthetic data set in it is replaced",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=400,
        help=f"how many, at least {MIN_PICTURES[QUALITY]} (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="same seed, same pictures (default: %(default)s)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch takes seconds: only once the options are right.
        from training.data.demo_sets import MAKERS

        MAKERS[arguments.task](arguments.out, arguments.pictures, arguments.seed)
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
