"""How right both warnings of familiarity are: which pictures they are tried on, and the table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.tasks.heads import NOT_A_PHOTOGRAPH, UNLIKE_TRAINING, Familiarity
from PIL import Image

from training.data import unusual_photographs
from training.data.graphics import for_testing
from training.data.graphics.sheet import Graphic, as_sent
from training.data.photographs import read_pictures
from training.data.ratings import Split
from training.heads import screen_graphics
from training.heads.image_sources import any_rated
from training.heads.samples import Samples, Source, distorted, opened, originals, variants_of

SIDES: Final = ("photographs", "graphics", "unusual")
UNUSUAL_OF_PACKAGES: Final = (
    "cell.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png", "retina.jpg",
)  # fmt: skip
"""Of scikit-image's data: real ones, which nothing was learnt from."""

WARNINGS: Final = (NOT_A_PHOTOGRAPH, UNLIKE_TRAINING)
Sets = dict[tuple[str, str], Samples]
"""By what they are, one of `SIDES`, and by name."""


def judge(head: Familiarity, tests: Sets) -> dict[str, Any]:
    """
    Say how many of each set are warned of.

    Returns:
        Under `tests` by name `of`, `n`, the share that gets each warning, `median_familiarity`;
        and for each of `SIDES` the same of all its sets together.
    """
    rows = {name: _shares(head, side, samples) for (side, name), samples in tests.items()}
    return {"tests": rows, **_sums(rows)}


def markdown(report: Mapping[str, Any]) -> str:
    """Return the table of a report, for a document."""
    lines = [f"| pictures | n | {' | '.join(WARNINGS)} | either |", "|---|---|---|---|---|"]
    rows = [(name, row) for name, row in report["tests"].items()]
    rows += [(f"**all {side}**", report[side]) for side in SIDES if side in report]
    for name, row in rows:
        shares = [*(row[warning] for warning in WARNINGS), sum(row[w] for w in WARNINGS)]
        told = " | ".join(f"{100 * share:.1f} %" for share in shares)
        lines.append(f"| {name} | {row['n']} | {told} |")
    return "\n".join(lines) + "\n"


def unseen(
    arguments: argparse.Namespace,
    rated: Split,
    others: list[Source],
    taken: Callable[..., Samples],
) -> Sets:
    """
    Return the samples of what nothing was learnt from.

    Args:
        arguments: Of `training.familiarity`.
        rated: Photographs of a test split.
        others: More photographs, to be distorted.
        taken: Makes samples of sources.
    """
    sets = {
        ("photographs", "rated, test split"): taken(
            any_rated(rated, arguments.pictures * 2), originals,
            folder="originals", title="rated, test",
        ),
        ("photographs", "distorted"): taken(
            others, distorted, folder="distorted", title="distorted"
        ),
    }  # fmt: skip
    for kind, draw in for_testing.KINDS.items():
        sets["graphics", kind] = taken(
            drawn({kind: draw}, arguments.graphics), originals, folder="graphics", title=kind
        )
    found = [("graphics", name, list(_ready(made(arguments.screens)))) for name, made in (
        ("screenshot", screen_graphics.screenshots), ("icon", screen_graphics.icons),
    )]  # fmt: skip
    for kind, view in unusual_photographs.FOR_TESTING.items():
        sets["unusual", kind] = taken(
            others, variants_of({kind: view}), folder=f"unusual {kind}", title=kind
        )
    found.append(("unusual", "microscope, eye, sky (scikit-image)", _of_packages()))
    found += [("graphics", f.name, _few(f, arguments.screens)) for f in arguments.graphics_in]
    found += [("unusual", f.name, _few(f, arguments.screens)) for f in arguments.unusual_in]
    for side, name, pictures in found:
        if pictures:
            sets[side, name] = taken(pictures, originals, folder="found", title=name)
    return sets


def _of_packages() -> list[Source]:
    folder = files("skimage") / "data"
    return [Source(name, (folder / name).read_bytes, opened) for name in UNUSUAL_OF_PACKAGES]


def _few(folder: Path, limit: int) -> list[Source]:
    """Return so many pictures of a folder, spread over it."""
    pictures = read_pictures(folder, "--graphics-in, --unusual-in")
    step = max(1, len(pictures) // limit)
    return [
        Source(f"{folder.name} {name}", partial(bytes, body), opened)
        for name, body in list(pictures.items())[::step][:limit]
    ]


def drawn(kinds: Mapping[str, Graphic], n: int) -> list[Source]:
    """Return what draws n graphics of each kind, each as it would be sent."""

    def draw(kind: str, number: int, _: bytes) -> Image.Image:
        rng = np.random.default_rng((number, *kind.encode()))
        return as_sent(kinds[kind](rng), rng)

    return [
        Source(f"{kind} {number}", bytes, partial(draw, kind, number))  # its name says it all
        for kind in kinds
        for number in range(n)
    ]


def _ready(pictures: Iterator[tuple[str, Image.Image]]) -> Iterator[Source]:
    for name, image in pictures:
        yield Source(name, image.tobytes, partial(_same, image))


def _same(image: Image.Image, _: bytes) -> Image.Image:
    return image


def _shares(head: Familiarity, side: str, samples: Samples) -> dict[str, Any]:
    inputs = head.network.inputs_of(samples.features, samples.statistics)
    replies = [head.reply(one) for one in inputs]
    warned = [warnings for _, warnings in replies]
    return {
        "of": side,
        "n": len(replies),
        **{name: float(np.mean([name in warnings for warnings in warned])) for name in WARNINGS},
        "median_familiarity": round(float(np.median([told for told, _ in replies])), 3),
    }


def _sums(tests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    sums = {}
    for side in SIDES:
        rows = [row for row in tests.values() if row["of"] == side]
        n = sum(row["n"] for row in rows)
        sums[side] = {
            "n": n,
            **{name: sum(row["n"] * row[name] for row in rows) / max(n, 1) for name in WARNINGS},
        }
    return sums
