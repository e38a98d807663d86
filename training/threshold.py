"""
Choose the score from which on a picture is accepted, and say how often that is wrong.

By costs, by the share to keep, or for a threshold that is given. The rates are those to expect on
other pictures like the rated ones, with intervals, and can be checked on a second split. The last
lines are what a server's model-config.yaml takes, which then answers with a `decision`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.network import checkpoint
from iqa.tasks.score_scales import ScoreScale, quality_of_mos
from iqa.tasks.task_table import QUALITY, task_of
from numpy.typing import NDArray

from console import command_line
from training.compute.device import choose_device
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import SPLITS
from training.data.ratings import ALL
from training.data.ratings_table import read_ratings
from training.evaluate import load_model
from training.measure import plots, threshold_errors
from training.measure.predict import predict, torch_predictor
from training.measure.threshold_errors import Chooser, Costs, Thresholds

Vector = NDArray[np.float64]

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
        "training.threshold --scores scored.csv --keep-best 20%%",
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
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode (default: %(default)s)"
    )
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        choose = _rule(arguments)
        if arguments.scores is not None:
            _expect_no_pictures(parser, arguments)
        scores, rated = _scored(arguments)
        is_good = _is_good(rated, arguments)
        found, promised = threshold_errors.expected(choose, scores, is_good)
        document: dict[str, Any] = {
            "accept_at": found.accept_at,
            "reject_below": found.reject_below,
            "good_from": arguments.good_from,
            "n": len(scores),
            "n_good": int(is_good.sum()),
            "expected": promised,
        }
        if arguments.check_split:
            document["checked"] = {"split": arguments.check_split} | _checked(arguments, found)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(document, indent=2) + "\n")
        plot = arguments.out.with_suffix(".png")
        plots.errors_by_threshold(scores, is_good, found.accept_at, found.reject_below).savefig(
            plot, dpi=120
        )
        print(_report(document))
        print(f"written: {arguments.out}, {plot}")
        return 0

    return command_line.run(command, arguments.debug)


def _rule(arguments: argparse.Namespace) -> Chooser:
    """Return the chooser that the options name."""
    costs = arguments.cost_false_accept, arguments.cost_false_reject
    rules = {
        "--accept-at": arguments.accept_at is not None,
        "--cost-false-accept and --cost-false-reject": costs != (None, None),
        "--keep-best": arguments.keep_best is not None,
    }
    named = [name for name, is_given in rules.items() if is_given]
    if len(named) != 1:
        raise ValueError(
            f"the rule: expected one of {'; '.join(rules)}, got {' and '.join(named) or 'none'}."
        )
    for name, rule in (("reject_below", "--accept-at"), ("cost_review", "--cost-false-accept")):
        if getattr(arguments, name) is not None and rule not in named[0]:
            raise ValueError(
                f"{_option(name)}: expected it with {rule} alone, got it with {named[0]}. Leave it "
                "out."
            )
    if arguments.keep_best is not None:
        return threshold_errors.keeping(arguments.keep_best)
    if arguments.accept_at is not None:
        low = arguments.accept_at if arguments.reject_below is None else arguments.reject_below
        if not 0 <= low <= arguments.accept_at <= 100:
            raise ValueError(
                "--accept-at: expected 0 <= --reject-below <= --accept-at <= 100, got "
                f"{low:g} and {arguments.accept_at:g}."
            )
        return threshold_errors.fixed(Thresholds(accept_at=arguments.accept_at, reject_below=low))
    if None in costs or min(costs) <= 0:
        raise ValueError(
            f"costs: expected --cost-false-accept and --cost-false-reject above 0, got {costs[0]} "
            f"and {costs[1]}. Only their ratio counts: 5 and 1, say."
        )
    review = np.inf if arguments.cost_review is None else arguments.cost_review
    if not review >= 0:
        raise ValueError(f"--cost-review: expected at least 0, got {review}.")
    return threshold_errors.cheapest(
        Costs(false_accept=costs[0], false_reject=costs[1], review=review)
    )


def _expect_no_pictures(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse what says which pictures a model scores: there are scores already."""
    names = {field.name for field in dataclasses.fields(DataConfig)} - {"mos_range", "columns"}
    names |= {"model", "split", "check_split"}
    given = [n for n in sorted(names) if getattr(arguments, n) != parser.get_default(n)]
    if given:
        raise ValueError(
            f"--scores: expected a file of scores alone, got it with "
            f"{', '.join(map(_option, given))}. Leave that out, or --scores."
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_good(rated: Vector, arguments: argparse.Namespace) -> NDArray[np.bool_]:
    """Tell which ratings are good; 57 of 100, taken to [0, 1] and back, is a little less."""
    is_good: NDArray[np.bool_] = rated >= arguments.good_from - 1e-9
    return is_good


def _scored(arguments: argparse.Namespace, split: str | None = None) -> tuple[Vector, Vector]:
    """Return scores and ratings of a split, both on 0-100."""
    if arguments.scores is not None:
        table = read_ratings(
            arguments.scores, ("score", "mos"), headers=_headers(arguments.columns),
            remedy="Name the column of scores score, and that of ratings mos.",
        )  # fmt: skip
        low_high = arguments.mos_range or (0.0, 100.0)
        scores = table.numbers("score")
        if scores.min() < 0 or scores.max() > 100 or scores.max() <= 1:
            raise ValueError(
                f"--scores: expected scores on 0-100, got {scores.min():g} to {scores.max():g}. "
                "Rescale the column to 0-100."
            )
        return scores, 100 * quality_of_mos(table.numbers("mos"), low_high)
    if arguments.model is None:
        raise ValueError("--model: expected it, or --scores with a file of scores, got neither.")
    network, card = load_model(arguments.model)
    if task_of(card).name != QUALITY.name:
        raise ValueError(f"--model: expected a model of quality, got one of {task_of(card).name}.")
    name = split or arguments.split
    needed = () if name == ALL else (name,)
    data = ratings.load(data_config(arguments), needed, policy=checkpoint.policy_of(card))
    device = choose_device(arguments.device)
    quality = predict(
        torch_predictor(network.to(device), device), data.split(name),
        workers=arguments.workers, title=f"score {name}",
    )  # fmt: skip
    scale = ScoreScale.of_card(card)
    return np.array([scale.score(float(q)) for q in quality]), 100 * data.split(name).target


def _headers(columns: dict[str, str] | None) -> dict[str, str] | None:
    """Return what the ratings' column is called; of the names nothing is needed here."""
    return {"mos": columns["mos"]} if columns and "mos" in columns else None


def _checked(arguments: argparse.Namespace, found: Thresholds) -> dict[str, Any]:
    scores, rated = _scored(arguments, arguments.check_split)
    return {
        "n": len(scores),
        "rates": threshold_errors.with_intervals(
            scores >= found.accept_at, scores < found.reject_below, _is_good(rated, arguments)
        ),
    }


def _report(document: dict[str, Any]) -> str:
    checked = document.get("checked")
    heads = "expected".ljust(24) + (f"on {checked['split']}" if checked else "")
    lines = [f"{document['n']} pictures, {document['n_good']} of them good", f"{'':24}{heads}"]
    for name in threshold_errors.RATES:
        cells = [document["expected"][name], *([checked["rates"][name]] if checked else [])]
        lines.append(
            f"{name.replace('_', ' '):24}"
            + "".join(
                f"{100 * cell['value']:5.1f} % [{100 * cell['ci95'][0]:.1f}, "
                f"{100 * cell['ci95'][1]:.1f}]".ljust(24)
                for cell in cells
            ).rstrip()
        )
    return "\n".join(
        [
            *lines, "", "for torchserve/model-config.yaml, under handler:",
            f"  accept_at: {min(document['accept_at'], 100):g}",
            f"  reject_below: {min(document['reject_below'], 100):g}",
        ]
    )  # fmt: skip


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
