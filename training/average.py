"""
One network of several: the mean of their weights. `python -m training.average --help`.

Runs that start from the same weights and the same head, and keep their norms frozen, end in one
valley of the loss; the mean of their weights lies nearer to its floor than each of them, and costs
no more to serve than one. Wortsman et al., "Model soups", ICML 2022, the uniform kind. What it is
worth, and that the seed has to be the same: docs/decisions/0017-the-mean-of-two-runs.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import torch
from iqa import checkpoint
from iqa.model import QualityNetwork

from training import command_line, promotion, ratings, registry, tracking
from training.config import DataConfig, add_options, data_config
from training.device import choose_device
from training.finish import finish
from training.parallel import expect_alone
from training.tracking_uri import connect
from training.train import report

logger = logging.getLogger(__name__)

COUNTS: Final = "num_batches_tracked"
"""Buffers that say nothing about what a network computes."""


def main(argv: list[str] | None = None) -> int:
    """Average from the command line; 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m training.average",
        description="Make one network of several that were trained from the same weights with "
        "--norm frozen and the same --seed: the mean of their weights. It is calibrated, tested, "
        "registered and promoted as a trained one is.",
        epilog="Example: python -m training.average --checkpoints runs/lr5e-5/best "
        "runs/lr1e-4/best --dataset biq2021 --data-dir data/biq2021 --out runs/mean --alias "
        "staging",
    )
    parser.add_argument(
        "--checkpoints", type=Path, nargs="+", required=True, metavar="FOLDER",
        help="two or more, trained on the same pictures: the folder `best` of a run of "
        "training.train",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the new network; made if missing"
    )
    add_options(parser, DataConfig)
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode (default: %(default)s)"
    )
    parser.add_argument("--experiment", default="iqa", help="MLflow's (default: %(default)s)")
    parser.add_argument(
        "--model-name", default=registry.MODEL_NAME,
        help="registered model that gets the version (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--alias", help="alias to move to the new version if its validation SROCC is better"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(lambda: report(_average(arguments)), arguments.debug)


def _average(arguments: argparse.Namespace) -> promotion.Registered:
    """Check all, average, measure, register; nothing is written before all was checked."""
    expect_alone("training.average")
    device = choose_device(arguments.device)
    loaded = [checkpoint.load(folder) for folder in arguments.checkpoints]
    network = mean_network([network for network, _ in loaded])
    cards = [card for _, card in loaded]
    seeds = {card["training"].get("settings", {}).get("seed") for card in cards}
    if len(seeds) > 1:
        logger.warning(
            "--checkpoints: expected runs of one --seed, got %s: their heads began apart, and such "
            "a mean was no better than its members. Compare it with them.",
            ", ".join(sorted(str(seed) for seed in seeds)),
        )
    connect()
    registry.holder_of(arguments.model_name, arguments.alias or registry.ALIAS)  # away? said now
    data = ratings.load(data_config(arguments))
    digests = {name: split.digest() for name, split in data.splits.items()}
    for folder, card in zip(arguments.checkpoints, cards, strict=True):
        _expect_same_pictures(folder, card, digests)
    with tracking.run(arguments.experiment, f"mean of {len(cards)}", None, None) as run_id:
        provenance = tracking.provenance()
        mlflow.set_tags(provenance)
        mlflow.log_params(
            {f"member_{place}": card["weights_sha256"] for place, card in enumerate(cards)}
        )
        tracking.log_inputs(data, digests)
        how: dict[str, Any] = {
            "mean_of": [
                {"weights_sha256": card["weights_sha256"], **card["training"]} for card in cards
            ],
            "seconds": sum(card["training"]["seconds"] for card in cards),
            **provenance,
        }
        card = finish(
            arguments.out, network, data, digests, how, device=device, workers=arguments.workers
        )
        registered = promotion.register(arguments.model_name, run_id, arguments.out, card)
    if arguments.alias:
        promotion.promote_if_better(arguments.alias, registered, data.splits["val"])
    return registered


def mean_network(networks: Sequence[QualityNetwork]) -> QualityNetwork:
    """
    Return the network whose weights are the mean of others'.

    Args:
        networks: Two or more of one backbone, with the same norm statistics.

    Returns:
        A new one, float32, in evaluation mode.

    Raises:
        ValueError: Fewer than two, other backbones, or other statistics: the mean of weights that
            were trained with each batch's own statistics has none that fit it.
    """
    if len(networks) < 2:
        raise ValueError(
            f"--checkpoints: expected two networks or more, got {len(networks)}. Name another run, "
            "e.g. of another --seed."
        )
    backbones = [network.backbone for network in networks]
    if len(set(backbones)) > 1:
        raise ValueError(
            f"--checkpoints: expected networks of one backbone, got {', '.join(backbones)}. "
            "Average runs that differ in seed or rates only."
        )
    states = [network.state_dict() for network in networks]
    trained = {name for name, _ in networks[0].named_parameters()}
    mean = QualityNetwork(backbones[0])
    averaged = {}
    for name, first in states[0].items():
        if name in trained:
            stacked = torch.stack([state[name].double() for state in states])
            averaged[name] = stacked.mean(dim=0).float()
        else:
            is_same = all(torch.equal(first, state[name]) for state in states)
            if not (is_same or name.endswith(COUNTS)):
                raise ValueError(
                    f"--checkpoints: expected the same norm statistics, got others in {name}. "
                    "Train all of them with --norm frozen, from the same --weights."
                )
            averaged[name] = first
    mean.load_state_dict(averaged)
    return mean.eval()


def _expect_same_pictures(folder: Path, card: checkpoint.Card, digests: dict[str, str]) -> None:
    """Refuse a network that was trained on what is validation or test here."""
    own = card.get("data", {}).get("digests", {})
    other = [name for name in digests if own.get(name) != digests[name]]
    if other:
        raise ValueError(
            f"{folder}: expected a network of these pictures and ratings, got one of other "
            f"{', '.join(other)} pictures. Name the data that it was trained on."
        )


if __name__ == "__main__":
    sys.exit(main())
