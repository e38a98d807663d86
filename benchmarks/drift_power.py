"""
How often drift is found where there is some, and said to be where there is none: by simulation.

    python -m benchmarks.drift_power --checkpoint training/pretrained \
        --graph training/pretrained/precision/bf16 --dataset biq2021 --data-dir data/biq2021
    python -m benchmarks.drift_power --checkpoint training/pretrained --pictures photographs

Each picture is measured once as it is, once damaged, once by a model whose weights were changed;
windows are drawn from that. The reference is made of the training split, the windows of the test
split; of a folder, of a half each. Writes `drift_power.json` and `.md`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from iqa.drift.comparison import Columns, columns_of, compare
from iqa.network.model import Network
from iqa.scoring.scorer import Scorer
from iqa.tasks.score_scales import calibrate

from benchmarks.drift_trials import (
    LEVELS,
    damaged_at_random,
    one_damage,
    part_at_random,
    size_of,
    split_at_random,
    verdicts,
)
from benchmarks.report_tables import table
from console import command_line
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import ImageFile
from training.data.distortions import DISTORTIONS
from training.drift.fit import fit
from training.drift.folders import pictures_in
from training.drift.measuring import Damage, cache_folder, measure, open_scorer
from training.networks import by_name as networks

KINDS: Final = tuple(DISTORTIONS)
NUDGE: Final = 0.02
"""Every weight is multiplied by 1 and a normal number of this deviation: a subtly broken model."""
SCORE_LOGITS: Final = 0.15
"""By so much the logit of every score is moved: 3 to 4 points, a calibration that is off."""


def main(argv: list[str] | None = None) -> int:
    """Measure, draw, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_power",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the model")
    parser.add_argument(
        "--graph", type=Path,
        help="folder of the graph that is served (default: the checkpoint's own in float32)",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="photographs, 2,000 or more"
    )
    add_options(parser, DataConfig, without=("limit",))
    parser.add_argument(
        "--limit", type=int, metavar="N", help="pictures of the reference, at most (default: all)"
    )
    parser.add_argument("--window", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument(
        "--windows", type=int, default=10_000,
        help="drawn where nothing moved (default: %(default)s); a tenth of it elsewhere",
    )  # fmt: skip
    parser.add_argument("--damaged", type=float, default=0.1, help="share (default: %(default)s)")
    parser.add_argument(
        "--untested", nargs="*", default=[], metavar="MEASURE",
        help="measures not to test, as of training.drift_reference",
    )  # fmt: skip
    parser.add_argument(
        "--measured", type=Path, default=Path("build/drift"), metavar="FOLDER",
        help="folder that keeps what was measured (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("drift_power.json"),
                        help="(default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
        rows = simulate(arguments)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")
        text = as_table(rows)
        arguments.out.with_suffix(".md").write_text(text)
        print(text)
        return 0

    return command_line.run(command, arguments.debug)


def simulate(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what was said of the windows of each case."""
    known_files, new_files, names = _pictures(arguments)
    network, card = networks.load(arguments.checkpoint)
    with open_scorer(arguments.checkpoint, network, card, arguments.graph) as scorer:
        cache = cache_folder(arguments.measured, scorer, card)
        known = _measured(scorer, known_files, cache / f"{names[0]}.jsonl")
        found = measure(scorer, new_files, cache / f"{names[1]}.jsonl", names[1])
        new_files = [file for file, one in zip(new_files, found, strict=True) if one]
        intact = columns_of([one for one in found if one])
        damages = [
            (KINDS[place % len(KINDS)], LEVELS[place // len(KINDS) % len(LEVELS)])
            for place in range(len(new_files))
        ]
        kinds = np.array([kind for kind, _ in damages])
        damaged = _measured(scorer, new_files, cache / f"{names[1]}, damaged.jsonl", damages)
    cache = cache.with_name(f"{cache.name}-float32")
    with open_scorer(arguments.checkpoint, network, card, None) as scorer:
        precise = _measured(scorer, new_files, cache / f"{names[1]}.jsonl")
    cache = cache.with_name(f"{cache.name}-nudged-{NUDGE:g}")
    with open_scorer(arguments.checkpoint, nudged(network, NUDGE), card, None) as scorer:
        changed = _measured(scorer, new_files, cache / f"{names[1]}.jsonl")
    shifted = _with_other_scores(intact)
    untested = set(arguments.untested)
    reference = fit(known, untested=untested)
    window = min(arguments.window, size_of(intact))
    many, some = arguments.windows, max(100, arguments.windows // 10)
    seed, half = arguments.seed, window // 2

    def said(title: str, draw: Any, windows: int) -> dict[str, Any]:
        return verdicts(draw, windows, seed, title)

    everything = {name: np.concatenate([known[name], intact[name]]) for name in known}
    rows = [
        said("nothing moved: any pictures, all others the reference",
             split_at_random(everything, window, untested), many),
        said("nothing moved: half of the unseen pictures",
             part_at_random(intact, half, reference), some),
        said("nothing moved: the same in float32",
             part_at_random(precise, half, reference), some),
        said("nothing moved: a new version, its own reference",
             split_at_random(changed, half, untested), some),
        said(f"pictures: {arguments.damaged:.0%} damaged, all kinds",
             damaged_at_random(intact, damaged, window, arguments.damaged, reference), some),
    ]  # fmt: skip
    rows += [
        said(f"pictures: {arguments.damaged:.0%} {kind}",
             one_damage(intact, damaged, kinds == kind, window, arguments.damaged, reference), 100)
        for kind in KINDS
    ]  # fmt: skip
    rows += [
        said(f"model: every weight off by about {NUDGE:.0%}",
             part_at_random(changed, half, reference), some),
        said("model: every score moved by 3 to 4 points",
             part_at_random(shifted, half, reference), some),
    ]  # fmt: skip
    unseen = compare(reference, intact)
    farthest = max(unseen.over, key=lambda name: unseen.over[name])
    rows.append({
        "case": "all unseen pictures as one window", "windows": 1, "nothing": 0, "pictures": 0,
        "model": 0, unseen.verdict: 1, "moved": {},
        "note": f"{farthest} at {unseen.over[farthest]:.2f} of its limit",
    })  # fmt: skip
    return rows


def nudged(network: Network, deviation: float) -> Network:
    """Return a copy whose weights are all a little off, the same for each call."""
    changed = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in changed.parameters():
            factors = torch.randn(parameter.shape, generator=generator)
            parameter.mul_(1 + deviation * factors)
    return changed


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of a report, for a document."""
    titles = ["window", "windows", "said: nothing", "pictures", "model", "most often moved"]
    return table(
        titles,
        [
            [
                row["case"], str(row["windows"]), str(row["nothing"]), str(row["pictures"]),
                str(row["model"]),
                row.get("note") or ", ".join(list(row["moved"])[:3]),
            ]
            for row in rows
        ],
    )  # fmt: skip


def _pictures(
    arguments: argparse.Namespace,
) -> tuple[list[ImageFile], list[ImageFile], tuple[str, str]]:
    """Return what the reference is made of, what windows are drawn from, and their names."""
    if arguments.pictures is not None:
        named = [(path.name, path) for path in pictures_in(arguments.pictures)]
        name = arguments.pictures.resolve().name
        ordered: list[ImageFile] = [path for _, path in sorted(named, key=_by_hash)]
        half = len(ordered) // 2
        return ordered[:half], ordered[half:], (f"{name}, a half", f"{name}, the other half")
    limit, arguments.limit = arguments.limit, None  # it is not the data set's
    data = ratings.load(data_config(arguments), ("train", "test"))
    train, test = (
        sorted(zip(part.names, part.paths, strict=True), key=_by_hash)
        for part in (data.split("train"), data.split("test"))
    )
    names = (f"{arguments.dataset} train", f"{arguments.dataset} test")
    return [path for _, path in train[:limit]], [path for _, path in test], names


def _by_hash(named: tuple[str, Any]) -> str:
    return hashlib.sha256(named[0].encode()).hexdigest()


def _measured(
    scorer: Scorer, files: list[ImageFile], cache: Path, damages: list[Damage] | None = None
) -> Columns:
    return columns_of([one for one in measure(scorer, files, cache, cache.stem, damages) if one])


def _with_other_scores(columns: Columns) -> Columns:
    quality = np.asarray(columns["score"], np.float64) / 100
    moved = calibrate(quality, {"kind": "affine_logit", "scale": 1.0, "offset": SCORE_LOGITS})
    return {**columns, "score": 100 * moved}


if __name__ == "__main__":
    sys.exit(main())
