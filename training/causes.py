"""
Fit the heads that say what is wrong with a picture: blur, noise, compression.

Well rated photographs are damaged as cameras and messengers do it, one fault or two at a time, and
a small network on the features of the score's own network learns how much of each there is. It is
judged on other photographs and other damage, and written beside the checkpoint, whose weights stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.heads.cause_names import CAUSE_OF_KIND, SHIPPED
from training.heads.options import add_common


def main(argv: list[str] | None = None) -> int:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.causes",
        description="Fit the heads that say what is wrong with a picture, judge them on pictures "
        "and damage that they never saw, and write them beside a checkpoint.",
        epilog="Example: python -m training.causes --checkpoint training/pretrained --dataset "
        "biq2021 --data-dir data/biq2021 --graph training/pretrained/precision/bf16 --out "
        "causes.json. A registered version is not changed: register the folder again, python -m "
        "scripts.register_pretrained.",
    )
    add_common(parser)
    command_line.add_debug(parser)
    parser.add_argument(
        "--causes", nargs="+", default=list(SHIPPED),
        choices=sorted(set(CAUSE_OF_KIND.values())),
        help="which to write (default: %(default)s); all are learnt together",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("causes.json"),
                        help="file of the figures; table (.md) and plot (.png) are written "
                        "beside it (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch takes seconds: only once the options are right.
        from training.heads.fit_causes import fit_into_checkpoint

        fit_into_checkpoint(arguments)
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
