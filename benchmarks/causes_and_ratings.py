"""
How the causes of photographs as people took them go with their ratings; nothing is damaged here.

    python -m benchmarks.causes_and_ratings --dataset biq2021 --data-dir data/biq2021

A photograph that people rate low is often blurred, so there is to be more blur where ratings are
lower, and little of anything where they are high. No rating says which fault it is for.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import iqa
import numpy as np
from scipy import stats
from tqdm import tqdm

from console import command_line
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.heads.evaluate_causes import FALSE_ALARM
from training.heads.options import WELL_RATED


def main(argv: list[str] | None = None) -> int:
    """Score and compare."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.causes_and_ratings",
        description="Compare the causes of rated photographs, as they are, with their ratings.",
    )
    parser.add_argument(
        "--model", type=Path, help="an archive or a checkpoint (default: the shipped model)"
    )
    add_options(parser, DataConfig, without=("limit",))
    parser.add_argument(
        "--pictures", type=int, default=500,
        help="photographs of the test split, by a hash of their names (default: %(default)s)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        arguments.limit = None
        split = ratings.load(data_config(arguments), ("test",)).split("test")
        keys = [hashlib.sha256(name.encode()).hexdigest() for name in split.names]
        chosen = sorted(range(len(keys)), key=keys.__getitem__)[: arguments.pictures]
        model = iqa.load(arguments.model)
        told = [
            model.predict(split.paths[index])["causes"]
            for index in tqdm(chosen, desc="causes", unit="picture")
        ]
        rating = np.array([split.target[index] for index in chosen])
        is_good = rating >= WELL_RATED
        print(f"{len(chosen)} photographs, {is_good.sum()} of them rated {WELL_RATED:g} or better")
        for cause in told[0]:
            points = np.array([one[cause] for one in told])
            print(
                f"{cause}: rank with the rating {stats.spearmanr(rating, points).statistic:.3f}; "
                f"well rated with more than {FALSE_ALARM}: "
                f"{100 * np.mean(points[is_good] > FALSE_ALARM):.1f} %"
            )
        return 0

    return command_line.run(command, arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
