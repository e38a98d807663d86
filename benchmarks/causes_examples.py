"""
Twelve photographs with their causes, for the documents: six as they are, six damaged.

    python -m benchmarks.causes_examples
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Final

import iqa
import numpy as np
from iqa.local.model import Model
from iqa.tasks.task import Reply
from matplotlib.figure import Figure
from PIL import Image

from console import command_line
from console.paths import ROOT
from training.data.distortions import DISTORTIONS
from training.data.photographs import read_pictures

DAMAGE: Final = {
    "astronaut": ("white_noise", 3), "china": ("motion_blur", 4), "coffee": ("jpeg", 4),
    "flower": ("gaussian_blur", 3), "motorcycle": ("rescale", 3), "rocket": ("webp", 4),
}  # fmt: skip
"""Of each photograph that packages ship: one kind of damage, and its level."""
COLUMNS: Final = 4


def main(argv: list[str] | None = None) -> int:
    """Draw the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.causes_examples",
        description="Score six photographs that packages ship, as they are and damaged, and draw "
        "them with their causes.",
    )
    parser.add_argument(
        "--model", type=Path, help="an archive or a checkpoint (default: the shipped model)"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "model" / "causes-examples.jpg",
        help="file of the picture (default: docs/model/causes-examples.jpg)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        sheet(iqa.load(arguments.model)).savefig(arguments.out, dpi=90)
        print(f"written: {arguments.out}")
        return 0

    return command_line.run(command, arguments.debug)


def sheet(model: Model) -> Figure:
    """Return the twelve photographs, each with its score, its causes and its familiarity."""
    figure = Figure(figsize=(13, 9.5), layout="constrained")
    places = iter(figure.subplots(2 * len(DAMAGE) // COLUMNS, COLUMNS).flat)
    for scene, body in read_pictures(None).items():
        kind, level = DAMAGE[scene]
        image = Image.open(io.BytesIO(body)).convert("RGB")
        damaged = DISTORTIONS[kind](image, level, np.random.default_rng(0))
        for title, one in (("as it is", image), (f"{kind.replace('_', ' ')} {level}", damaged)):
            axes = next(places)
            axes.imshow(one)
            axes.axis("off")
            axes.set_title(f"{scene}, {title}: {told(model.predict(one))}", loc="left", fontsize=9)
    return figure


def told(reply: Reply) -> str:
    """
    Return a reply in three lines.

    Raises:
        ValueError: It has no causes.
    """
    if "causes" not in reply:
        raise ValueError(
            "--model: expected one with heads, got replies without causes. Fit them: "
            "python -m training.causes --help"
        )
    causes = ", ".join(f"{cause} {points}" for cause, points in reply["causes"].items())
    return (
        f"score {reply['score']:.0f}\n{causes}\n"
        f"main cause: {reply.get('main_cause') or 'none'}; familiarity {reply['familiarity']}"
    )


if __name__ == "__main__":
    sys.exit(main())
