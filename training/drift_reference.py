"""
Make the reference that drift is measured against, and write it into a checkpoint's card.

Of rated or unrated pictures, or of a server's prediction log. `build_mar` packs it with the card;
a server whose archive has one counts its pictures against it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from iqa.drift.comparison import columns_of
from iqa.drift.measures import FILE, NAMES
from iqa.drift.reference import DRIFT, Reference
from iqa.network import checkpoint

from console import command_line
from training.data import ratings
from training.data.config import DataConfig, add_options, data_config
from training.data.dataset_layouts import SPLITS, ImageFile
from training.data.ratings import ALL
from training.drift.fit import FALSE_ALARMS, fit
from training.drift.folders import pictures_in
from training.drift.measuring import cache_folder, measure, open_scorer
from training.networks import by_name as networks

EXAMPLES = """
examples:
  python -m training.drift_reference --checkpoint training/pretrained --dataset biq2021 \\
    --data-dir data/biq2021 --graph training/pretrained/precision/bf16 \\
    --untested megapixels aspect format
  python -m training.drift_reference --checkpoint my-model --pictures photographs

--untested is for pictures that do not tell what a server will be sent: nearly all
of BIQ2021 are 512 x 512, and all of them JPEG.
A registered version is not changed: register the folder again, python -m
scripts.register_pretrained. How to read what a server then reports: docs/drift.md.
"""


def main(argv: list[str] | None = None) -> int:
    """Make a reference from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.drift_reference",
        description="Measure pictures as the server does, and write into a checkpoint's card how "
        "each measure is spread: what a server's traffic is compared with.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder whose model.json is written"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER",
        help="unrated pictures, at any depth, in place of a data set",
    )  # fmt: skip
    add_options(parser, DataConfig, without=("limit",))
    parser.add_argument(
        "--split", default="train", choices=[*SPLITS, ALL],
        help="part of the data set (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most so many pictures, by a hash (default: all)"
    )
    parser.add_argument(
        "--graph", type=Path,
        help="folder of the graph that is served (default: the checkpoint's own in float32)",
    )  # fmt: skip
    parser.add_argument(
        "--untested", nargs="*", default=[], choices=NAMES, metavar="MEASURE",
        help=f"measures to count and not to test, such as {' '.join(FILE)}",
    )  # fmt: skip
    parser.add_argument(
        "--false-alarms", type=float, default=FALSE_ALARMS,
        help="probability that a window in which nothing moved is said to have moved "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--measured", type=Path, default=Path("build/drift"), metavar="FOLDER",
        help="folder that keeps what was measured, to stop and continue (default: %(default)s)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)

    def command() -> int:
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
        return 0

    return command_line.run(command, arguments.debug)


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


if __name__ == "__main__":
    sys.exit(main())
