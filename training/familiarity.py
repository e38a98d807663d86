"""
Fit the head that tells photographs from graphics: plots, text, windows, drawings, noise.

Photographs, damaged ones and badly rated ones too, against graphics that are drawn here. The
threshold of the warning is chosen on photographs that the head did not learn from, and measured on
others, against graphics by other code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.network import checkpoint
from iqa.network.runtime import Runtime
from iqa.tasks.heads import FAMILIARITY, NOT_A_PHOTOGRAPH, SmallNetwork, head_inputs
from numpy.typing import NDArray
from PIL import Image

from console import command_line
from training.causes import add_common, expect_taps, features_of, pictures_of
from training.data import graphics, ratings
from training.data.config import data_config
from training.data.graphics import Graphic
from training.heads import network, screen_graphics
from training.heads.samples import Samples, camera_damaged, collect, distorted, originals
from training.heads.sources import Source, any_rated, well_rated

FALSE_ALARMS: Final = 0.01
"""Share of the photographs that choose the threshold which are warned of."""
HIDDEN: Final = 16
EPOCHS: Final = 30
Vector = NDArray[np.float64]


def main(argv: list[str] | None = None) -> int:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.familiarity",
        description="Fit the head that tells photographs from graphics, measure it on photographs "
        "and graphics that it never saw, and write it beside a checkpoint.",
        epilog="Example: python -m training.familiarity --checkpoint training/pretrained "
        "--dataset biq2021 --data-dir data/biq2021 --graph training/pretrained/precision/bf16",
    )
    add_common(parser)
    parser.add_argument(
        "--graphics", type=int, default=40,
        help="graphics of each kind to draw (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--screens", type=int, default=60,
        help="screenshots and icons each to test on, where the machine has a browser and an icon "
        "theme (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("familiarity.json"),
                        help="file of the figures (default: %(default)s)")  # fmt: skip
    arguments = parser.parse_args(argv)

    def command() -> int:
        folder: Path = arguments.checkpoint
        weights, card = checkpoint.load(folder)
        backbone = expect_taps(card)
        data = ratings.load(data_config_of(arguments))
        with features_of(weights, arguments.graph, backbone) as runtime:
            cache = arguments.features / card["weights_sha256"][:12]
            photographs, drawn = _learnt_from(arguments, data, runtime, cache)
            tests = _tests(arguments, data, runtime, cache)
        learns = _is_learnt(photographs.names)
        inputs = _inputs(photographs)
        fitted = _fit(inputs[learns], _inputs(drawn), arguments.seed)
        threshold = float(np.quantile(_familiarity(fitted, inputs[~learns]), FALSE_ALARMS))
        report: dict[str, Any] = {
            "threshold": round(threshold, 4),
            "chosen_on": int((~learns).sum()),
            "tests": {
                name: _share_warned(fitted, samples, threshold) for name, samples in tests.items()
            },
        }
        report |= _sums(report["tests"])
        facts = {
            NOT_A_PHOTOGRAPH: round(threshold, 4),
            "photographs": int(learns.sum()),
            "graphics": len(drawn),
            "measured": report,
        }
        network.store(folder, FAMILIARITY, fitted, backbone, facts)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        print(markdown(report))
        print(f"written: {arguments.out}, {folder / checkpoint.CARD_FILE} and its heads")
        return 0

    return command_line.run(command, arguments.debug)


def markdown(report: Mapping[str, Any]) -> str:
    """Return the table of a report, for a document."""
    lines = ["| pictures | n | warned of |", "|---|---|---|"]
    for name, row in report["tests"].items():
        lines.append(f"| {name} | {row['n']} | {100 * row['warned']:.1f} % |")
    for name in ("photographs", "graphics"):
        row = report[name]
        lines.append(f"| **all {name}** | {row['n']} | {100 * row['warned']:.1f} % |")
    return "\n".join(lines) + "\n"


def data_config_of(arguments: argparse.Namespace) -> Any:
    """Return which rated pictures are read, all of them."""
    arguments.limit = None
    return data_config(arguments)


def _learnt_from(
    arguments: argparse.Namespace, data: ratings.Ratings, runtime: Runtime, cache: Path
) -> tuple[Samples, Samples]:
    damaged = collect(
        well_rated(data.split("train"), arguments.pictures, arguments.well_rated),
        camera_damaged,
        runtime,
        cache / "camera_damaged",
        "damage",
    )
    rated = collect(
        any_rated(data.split("val"), len(data.split("val"))), originals, runtime,
        cache / "originals", "rated",
    )  # fmt: skip
    drawn = collect(
        _drawn(graphics.FOR_TRAINING, arguments.graphics), originals, runtime,
        cache / "graphics", "graphics",
    )  # fmt: skip
    return _together(damaged, rated), drawn


def _tests(
    arguments: argparse.Namespace, data: ratings.Ratings, runtime: Runtime, cache: Path
) -> dict[str, Samples]:
    """Return what nothing was learnt from; names of photographs begin with `photographs`."""
    unseen = {
        "photographs, rated, test split": collect(
            any_rated(data.split("test"), arguments.pictures * 2), originals, runtime,
            cache / "originals", "rated, test",
        ),
        "photographs, distorted": collect(
            pictures_of(arguments.test_pictures), distorted, runtime, cache / "distorted", "test"
        ),
    }  # fmt: skip
    for kind, draw in graphics.FOR_TESTING.items():
        unseen[kind] = collect(
            _drawn({kind: draw}, arguments.graphics), originals, runtime, cache / "graphics", kind
        )
    for name, made in (
        ("screenshot", screen_graphics.screenshots), ("icon", screen_graphics.icons),
    ):  # fmt: skip
        found = list(_ready(made(arguments.screens)))
        if found:
            unseen[name] = collect(found, originals, runtime, cache / "graphics", name)
    return unseen


def _drawn(kinds: Mapping[str, Graphic], n: int) -> list[Source]:
    """Return what draws n graphics of each kind, each as it would be sent."""

    def draw(kind: str, number: int) -> Image.Image:
        rng = np.random.default_rng((number, *kind.encode()))
        return graphics.as_sent(kinds[kind](rng), rng)

    return [
        (f"{kind} {number}", lambda kind=kind, number=number: draw(kind, number))  # type: ignore[misc]
        for kind in kinds
        for number in range(n)
    ]


def _ready(pictures: Iterator[tuple[str, Image.Image]]) -> Iterator[Source]:
    for name, image in pictures:
        yield name, lambda image=image: image  # type: ignore[misc]


def _together(a: Samples, b: Samples) -> Samples:
    return Samples(
        names=[*a.names, *b.names],
        features=np.concatenate([a.features, b.features]),
        statistics=np.concatenate([a.statistics, b.statistics]),
        strengths=np.concatenate([a.strengths, b.strengths]),
        quality=np.concatenate([a.quality, b.quality]),
    )


def _is_learnt(names: list[str]) -> NDArray[np.bool_]:
    """Tell which photographs are learnt from: half of them, with all copies, by a hash."""
    sources = [name.rsplit("|", 1)[0] for name in names]
    return np.array([hashlib.sha256(name.encode()).digest()[-1] % 2 == 0 for name in sources])


def _inputs(samples: Samples) -> NDArray[np.float32]:
    return head_inputs(samples.features, samples.statistics)


def _fit(photographs: NDArray[np.float32], drawn: NDArray[np.float32], seed: int) -> SmallNetwork:
    inputs = np.concatenate([photographs, drawn])
    is_photograph = np.arange(len(inputs)) < len(photographs)
    # Both sides weigh the same, however many of each there are.
    weights = np.where(is_photograph, 0.5 / len(photographs), 0.5 / len(drawn)) * len(inputs)
    return network.in_half_precision(
        network.fit(
            inputs, is_photograph[:, None].astype(np.float32), weights.astype(np.float32),
            loss="logistic", hidden=HIDDEN, epochs=EPOCHS, seed=seed, title="fit familiarity",
        )
    )  # fmt: skip


def _familiarity(fitted: SmallNetwork, inputs: NDArray[np.float32]) -> Vector:
    logits = np.clip(fitted(inputs)[:, 0].astype(np.float64), -30, 30)
    told: Vector = 1 / (1 + np.exp(-logits))
    return told


def _share_warned(fitted: SmallNetwork, samples: Samples, threshold: float) -> dict[str, float]:
    told = _familiarity(fitted, _inputs(samples))
    return {
        "n": len(told),
        "warned": float((told < threshold).mean()),
        "median_familiarity": round(float(np.median(told)), 3),
    }


def _sums(tests: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    sums = {}
    for side, is_photograph in (("photographs", True), ("graphics", False)):
        rows = [r for name, r in tests.items() if name.startswith("photographs") == is_photograph]
        n = sum(row["n"] for row in rows)
        sums[side] = {"n": n, "warned": sum(row["n"] * row["warned"] for row in rows) / n}
    return sums


if __name__ == "__main__":
    sys.exit(main())
