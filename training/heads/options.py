"""The options that the commands of the heads share; does not wait for torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from training.data.config import DataConfig, add_options

WELL_RATED: Final = 0.72
"""Quality in [0, 1] from which on a photograph is taken to have no fault of its own."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that `training.causes` shares with `training.familiarity`."""
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder whose heads are written"
    )
    add_options(parser, DataConfig, without=("limit",))
    parser.add_argument(
        "--pictures", type=int, default=600,
        help="photographs to learn from, at most (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--well-rated", type=float, default=WELL_RATED, metavar="QUALITY",
        help="rating, of 1, from which on a photograph is taken to have no fault of its own "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--test-pictures", type=Path, metavar="FOLDER",
        help="good photographs to test on (default: six that installed packages ship)",
    )  # fmt: skip
    parser.add_argument(
        "--graph", type=Path,
        help="folder of the graph that is served, whose features are learnt from (default: the "
        "checkpoint's own in float32)",
    )  # fmt: skip
    parser.add_argument(
        "--features", type=Path, default=Path("build/heads"),
        help="folder that keeps what was computed, to stop and continue (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
