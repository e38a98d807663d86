"""
Write the scores of a model's validation images as Prometheus rules for drift.

Drift is measured against them: torchserve/monitoring/recording_rules.yml compares the share of each
tenth of the scale with these. Make them anew for a model of your own.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from iqa.tasks.score_deciles import TENTHS, tenth_of_score
from iqa.tasks.score_scales import ScoreScale

from console import command_line
from console.paths import ROOT
from training.data.config import DataConfig, add_options, data_config

RULES: Final = ROOT / "torchserve" / "monitoring" / "score_reference.yml"
# An empty tenth has no logarithm. Half a picture more in each is what is usual for counts.
PSEUDOCOUNT: Final = 0.5


def main(argv: list[str] | None = None) -> int:
    """Score a model's validation pictures and write the rules."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.score_reference",
        description="Write the distribution of a model's validation scores as recording rules, "
        "for the alert on drift.",
        epilog="Example: python -m scripts.score_reference --model training/pretrained "
        "--dataset biq2021 --data-dir data/biq2021",
    )
    parser.add_argument(
        "--model", required=True,
        help="folder with a checkpoint, models:/NAME/VERSION or models:/NAME@ALIAS",
    )  # fmt: skip
    add_options(parser, DataConfig)
    parser.add_argument(
        "--out", type=Path, default=RULES,
        help="file of the rules (default: torchserve/monitoring/score_reference.yml)",
    )  # fmt: skip
    command_line.add_tracking_uri(parser)
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        # Torch and MLflow take seconds: only once the options are right.
        from iqa.network import checkpoint

        from training.compute.device import choose_device
        from training.data import ratings
        from training.measure.predict import predict, torch_predictor
        from training.registry.load_model import load_model

        network, card = load_model(arguments.model)
        policy = checkpoint.policy_of(card)
        data = ratings.load(data_config(arguments), ("val",), policy=policy)
        device = choose_device("auto")
        predictor = torch_predictor(network.to(device), device)
        quality = predict(predictor, data.split("val"), workers=2, title="validation pictures")
        scale = ScoreScale.of_card(card)
        shares = shares_of(scale.score(float(one)) for one in quality)
        source = f"{len(quality)} validation scores of {data.name}, {identity(card)}"
        arguments.out.write_text(rules(shares, source))
        print(f"{arguments.out}: {len(quality)} validation scores of {data.name}")
        return 0

    return command_line.run(command, arguments.debug)


def shares_of(scores: Iterable[float]) -> dict[str, float]:
    """Return the share of each tenth of the scale; none is 0."""
    counts = Counter(map(tenth_of_score, scores))
    total = counts.total() + PSEUDOCOUNT * len(TENTHS)
    return {tenth: (counts[tenth] + PSEUDOCOUNT) / total for tenth in TENTHS}


def identity(card: Mapping[str, Any]) -> str:
    """Name what decides a model's scores: its weights and its calibration."""
    fitted = card.get("calibration")
    calibration = f"{fitted['scale']:.5f} {fitted['offset']:.5f}" if fitted else "none"
    return f"weights {str(card['weights_sha256'])[:12]}, calibration {calibration}"


def rules(shares: Mapping[str, float], source: str) -> str:
    """Return the text of the rules' file."""
    lines = [
        f"# Shares of {source}.",
        "# Made by: python -m scripts.score_reference",
        "groups:",
        "  - name: iqa_score_reference",
        "    interval: 1m",
        "    rules:",
    ]
    for tenth, share in shares.items():
        lines += [
            "      - record: iqa:score_reference:share",
            f"        expr: vector({share:.5f})",
            f'        labels: {{tenth: "{tenth}"}}',
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
