"""
Fit the head that tells photographs from graphics, and usual photographs from unusual ones.

Photographs, damaged ones and badly rated ones too, against graphics that are drawn here and against
simulated views through other lenses and sensors. The thresholds of both warnings are chosen on
photographs that the head did not learn from, and measured on others, against graphics by other code
and against unusual photographs, simulated by other code and real ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from console import command_line
from training.heads.options import add_common


def main(argv: list[str] | None = None) -> int:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.familiarity",
        description="Fit the head that tells photographs from graphics, and usual photographs from "
        "unusual ones, measure it on pictures that it never saw, and write it beside a checkpoint.",
        epilog="Example: python -m training.familiarity --checkpoint training/pretrained "
        "--dataset biq2021 --data-dir data/biq2021 --graph training/pretrained/precision/bf16",
    )
    add_common(parser)
    command_line.add_debug(parser)
    parser.add_argument(
        "--graphics", type=int, default=40,
        help="graphics of each kind to draw (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--screens", type=int, default=60,
        help="screenshots and icons each to test on, where the machine has a browser and an icon "
        "theme (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--unusual", type=int, default=40,
        help="photographs of which unusual ones are simulated, of each kind (default: %(default)s)",
    )  # fmt: skip
    for name, what in (("graphics", "graphics"), ("unusual", "unusual photographs")):
        parser.add_argument(
            f"--{name}-in", type=Path, nargs="+", default=[], metavar="FOLDER",
            help=f"folders of more {what} to test on, --screens of each",
        )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("familiarity.json"),
                        help="file of the figures (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch takes seconds: only once the options are right.
        from training.heads.fit_familiarity import fit_into_checkpoint

        fit_into_checkpoint(arguments)
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
