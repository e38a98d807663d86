"""
Choose the score from which on a picture is accepted, and say how often that is wrong.

By costs, by the share to keep, or for a threshold that is given. The rates are those to expect on
other pictures like the rated ones, with intervals, and can be checked on a second split. The last
lines are what a server's model-config.yaml takes, which then answers with a `decision`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from console import command_line
from training.data.config import DataConfig, add_options
from training.data.dataset_layouts import ALL, SPLITS

GOOD_FROM: Final = 60.0
"""Points: the floor of the label `good`."""


def main(argv: list[str] | None = None) -> int:
    """Choose from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.threshold",
        description="Choose the score at which pictures are accepted, and measure how often that "
        "is wrong on pictures that people rated.",
        epilog="Examples: python -m training.threshold --model training/pretrained --dataset "
        "biq2021 --data-dir data/biq2021 --split val --check-split test --cost-false-accept 5 "
        "--cost-false-reject 1 --cost-review 0.5; of scores that are there already: python -m "
        "training.threshold --scores scored.csv --keep-best 20%",
    )
    rule = parser.add_argument_group("the rule, one of three")
    rule.add_argument(
        "--accept-at", type=float, metavar="SCORE", help="a threshold that is given: measure it"
    )
    rule.add_argument(
        "--reject-below", type=float, metavar="SCORE",
        help="with --accept-at: scores between the two are for a person to decide",
    )  # fmt: skip
    rule.add_argument(
        "--cost-false-accept", type=float, metavar="COST",
        help="of accepting a picture that people do not rate good",
    )  # fmt: skip
    rule.add_argument(
        "--cost-false-reject", type=float, metavar="COST", help="of rejecting a good one"
    )
    rule.add_argument(
        "--cost-review", type=float, metavar="COST",
        help="of having a person decide (default: nobody does)",
    )  # fmt: skip
    rule.add_argument("--keep-best", type=_share, metavar="PERCENT", help="e.g. 20%%")
    parser.add_argument(
        "--good-from", type=float, default=GOOD_FROM, metavar="RATING",
        help="rating, on 0-100, from which on a picture is good (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--scores", type=Path,
        help="CSV with image_name, score and mos, instead of a model and pictures; the ratings' "
        "scale with --mos-range (default there: 0 100)",
    )  # fmt: skip
    parser.add_argument("--model", help="as for training.evaluate")
    add_options(parser, DataConfig)
    parser.add_argument(
        "--split", default="val", choices=[*SPLITS, ALL],
        help="pictures that choose (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--check-split", choices=SPLITS, help="measure the chosen thresholds once more on this one"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("threshold.json"),
        help="file of the figures; the plot (.png) is written beside it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    command_line.add_workers(parser)
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # scipy takes a second: only once the options are right.
        from training.measure.threshold_rule import expect_no_pictures, rule_of

        choose = rule_of(arguments)
        if arguments.scores is not None:
            expect_no_pictures(parser, arguments)
        # Torch, MLflow and matplotlib take seconds: only once the rule is right too.
        from training.experiments.threshold import choose_thresholds

        choose_thresholds(choose, arguments)
        return 0

    return command_line.run(command, arguments.debug)


def _share(text: str) -> float:
    """Read `20%`, `20` or `0.2`; for argparse."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a share such as 20%, got {text!r}") from error
    share = number / 100 if text.endswith("%") or number > 1 else number
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected more than 0 % and less than 100 %, got {text}")
    return share


if __name__ == "__main__":
    sys.exit(main())
