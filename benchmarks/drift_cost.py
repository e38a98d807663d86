"""
What drift costs a picture in the worker: measuring it, and counting it against the reference.

    python -m benchmarks.drift_cost [--rounds 20] [--pictures 500]

CPU time of one thread, beside the statistics of pixels that the heads have computed already. The
bound is 0.1 ms a picture; exit status 1 where the median of the rounds is over it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from iqa.drift.measures import of_features, of_file, of_pixels, of_reply, projection
from iqa.drift.reference import Reference
from iqa.imaging.statistics import pixel_statistics
from iqa.network.intermediate_features import N_MEANS

from console import command_line
from console.paths import ROOT

BOUND_US: Final = 100.0
CARD: Final = ROOT / "training" / "pretrained" / "model.json"
SIZE: Final = (512, 384)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=500, help="a round (default: %(default)s)")
    parser.add_argument(
        "--card", type=Path, default=CARD, help="of a model with a reference (default: the shipped)"
    )
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        reference = Reference.of_card(json.loads(arguments.card.read_text()))
        if reference is None:
            raise ValueError(
                f"--card: expected one with a reference for drift, got {arguments.card} without."
            )
        rounds = [cost_us(reference, arguments.pictures) for _ in range(arguments.rounds)]
        median = statistics.median(rounds)
        print(
            f"{median:.1f} us a picture, {min(rounds):.1f} to {max(rounds):.1f} in "
            f"{len(rounds)} rounds of {arguments.pictures}; allowed: {BOUND_US:g}"
        )
        return 0 if median <= BOUND_US else 1

    return command_line.run(command, arguments.debug)


def cost_us(reference: Reference, pictures: int) -> float:
    """Return the mean CPU time of a picture, in microseconds."""
    rng = np.random.default_rng(0)
    signs = projection(N_MEANS["mobilenet_v2"])
    features = rng.random((pictures, len(signs)), dtype=np.float32)
    pixels = rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    seen = pixel_statistics(pixels)
    counts: defaultdict[tuple[str, int], int] = defaultdict(int)
    started_s = time.thread_time()
    for one in features:
        measured = of_file(SIZE, "JPEG") | of_pixels(seen) | of_features(one, signs)
        measured |= of_reply({"score": 61.5})
        for name, place in reference.bins_of(measured):
            counts[name, place] += 1
    elapsed_s = time.thread_time() - started_s
    assert sum(counts.values()) == pictures * len(reference.spreads)
    return 1e6 * elapsed_s / pictures


if __name__ == "__main__":
    sys.exit(main())
