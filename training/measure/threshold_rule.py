"""The rule that chooses a threshold: which one the options name, and what is refused beside it."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from training.data.config import DataConfig
from training.measure import threshold_errors
from training.measure.threshold_errors import Chooser, Costs, Thresholds


def rule_of(arguments: argparse.Namespace) -> Chooser:
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


def expect_no_pictures(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
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
