"""
Which pictures a reference is made of, and how it is written into a checkpoint's card.

The work of `training.drift_reference`, read downward.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from iqa.drift.comparison import columns_of
from iqa.drift.reference import DRIFT, Reference
from iqa.network import checkpoint

from training.data import ratings
from training.data.config import data_config
from training.data.dataset_layouts import ALL, ImageFile
from training.drift.fit import fit
from training.drift.folders import pictures_in
from training.drift.measuring import cache_folder, measure, open_scorer
from training.networks import by_name as networks


def make_reference(arguments: argparse.Namespace) -> None:
    """
    Measure pictures, and write how each measure is spread into a checkpoint's card.

    Args:
        arguments: Of `training.drift_reference`.
    """
    folder: Path = arguments.checkpoint
    network, card = networks.load(folder)
    pictures, source = _pictures(arguments)
    with open_scorer(folder, network, card, arguments.graph) as scorer:
        cache = cache_folder(arguments.measured, scorer, card) / f"{source}.jsonl"
        measured = [one for one in measure(scorer, pictures, cache, "measure") if one]
    reference = fit(
        columns_of(measured), untested=arguments.untested, false_alarms=arguments.false_alarms
    )
    facts = {**reference.document(), "source": source, "false_alarms": arguments.false_alarms}
    checkpoint.change_card(folder, {DRIFT: facts})
    print(as_text(reference))
    print(f"written: {folder / checkpoint.CARD_FILE}, {len(measured)} pictures of {source}")


def as_text(reference: Reference) -> str:
    """Return the bins of each measure and how many pictures of the reference are in them."""
    lines = []
    for name, spread in reference.spreads.items():
        limit = "not tested" if spread.limit is None else f"limit {spread.limit:g}"
        lines.append(f"{name} ({limit})")
        lines += [
            f"  {100 * count / reference.pictures:5.1f} %  {label}"
            for label, count in zip(spread.labels, spread.counts, strict=True)
        ]
    return "\n".join(lines)


def _pictures(arguments: argparse.Namespace) -> tuple[list[ImageFile], str]:
    """Return the pictures, by a hash of their names, and where they come from."""
    if arguments.pictures is not None:
        found = pictures_in(arguments.pictures)
        named: list[tuple[str, ImageFile]] = [(path.name, path) for path in found]
        source = arguments.pictures.resolve().name
    else:
        limit, arguments.limit = arguments.limit, None  # it is not the data set's
        needed = () if arguments.split == ALL else (arguments.split,)
        split = ratings.load(data_config(arguments), needed).split(arguments.split)
        arguments.limit = limit
        named = list(zip(split.names, split.paths, strict=True))
        source = f"{arguments.dataset} {arguments.split}"
    named.sort(key=lambda one: hashlib.sha256(one[0].encode()).hexdigest())
    return [picture for _, picture in named[: arguments.limit]], source
