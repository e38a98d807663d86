"""
The synthetic data set of text lines: which font draws which image, in which split.

For `training.demo_data`. In the layout of the data set `handwriting`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from training.data.fonts import DESIGNS, Font, split_of_design
from training.data.text_lines import HEIGHT_PX, WIDTH_PX, draw_line, jpeg_of

REVISION: Final = 3
"""Of `training.data.text_lines`: to be raised where it draws the same line in another way."""
MARK: Final = "SYNTHETIC TEXT LINES, made by training.demo_data"
FOLDER_OF_SPLIT: Final = {"train": "train", "val": "validation", "test": "test"}
PACKAGES: Final = ("numpy", "pillow", "scipy")
# What the generators of one seed are for.
_PLAN, _PICTURE = 0, 1

README: Final = """{mark}

{pictures} images of {width} x {height}, seed {seed}, revision {revision}: {counts}.
Half of each split printed, half handwritten. No person has written any of them: both kinds are
drawn with fonts, the handwritten ones with fonts that imitate a hand, and bent a little.

A design, bold and italic too, is in one split alone:

{designs}

A figure on this data says that the pipeline works. It says little about the writing of people:
never compare it with a figure on CATMuS, CORTO or any other real set.

Made with {packages}.
"""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One image to be made."""

    index: int
    split: str
    font: Font

    @property
    def path(self) -> Path:
        """Of the file, in the data set's folder; says which design draws it."""
        design = self.font.design.removeprefix("fonts-")
        name = f"synthetic-{self.index:05d}-{design}.jpg"
        return Path(FOLDER_OF_SPLIT[self.split]) / self.font.kind / name


def plan(pictures: int, seed: int, fonts: Sequence[Font]) -> list[Line]:
    """
    Choose the font and the split of each image.

    Of twenty in a row twelve are for training, three for validation, five for test; each with the
    kinds in turn. Of a kind all designs are equally likely, then all fonts of the design.
    """
    rng = np.random.default_rng((seed, _PLAN))
    splits = split_of_design(fonts)
    lines = []
    for index in range(pictures):
        place = index // 2 % 20
        split = "val" if place in (3, 9, 15) else "test" if place % 4 == 1 else "train"
        kind = list(DESIGNS)[index % 2]
        designs = sorted(name for (of, name), its in splits.items() if of == kind and its == split)
        design = designs[rng.integers(len(designs))]
        drawn_with = [font for font in fonts if (font.kind, font.design) == (kind, design)]
        font = drawn_with[rng.integers(len(drawn_with))]
        lines.append(Line(index=index, split=split, font=font))
    return lines


def readme(lines: Sequence[Line], seed: int, fonts: Sequence[Font]) -> str:
    """Return the words that go beside the images."""
    splits = split_of_design(fonts)
    counts = {split: sum(line.split == split for line in lines) for split in FOLDER_OF_SPLIT}
    designs = []
    for kind in DESIGNS:
        for split, folder in FOLDER_OF_SPLIT.items():
            there = sorted(name for (of, name), its in splits.items() if (of, its) == (kind, split))
            designs.append(f"{kind}, {folder}: {', '.join(there)}")
    return README.format(
        mark=MARK, pictures=len(lines), width=WIDTH_PX, height=HEIGHT_PX, seed=seed,
        revision=REVISION,
        counts=", ".join(f"{FOLDER_OF_SPLIT[split]} {n}" for split, n in counts.items()),
        designs="\n".join(designs),
        packages=", ".join(f"{name} {version(name)}" for name in PACKAGES),
    )  # fmt: skip


def draw(out: Path, lines: Sequence[Line], seed: int) -> None:
    """
    Write every image as a JPEG.

    Args:
        out: Folder of the data set.
        lines: What.
        seed: Same seed and fonts, same bytes.
    """

    def draw_one(line: Line) -> None:
        rng = np.random.default_rng((seed, _PICTURE, line.index))
        (out / line.path).write_bytes(jpeg_of(draw_line(line.font, rng), rng))

    for folder in {line.path.parent for line in lines}:
        (out / folder).mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        list(tqdm(pool.map(draw_one, lines), total=len(lines), desc="text lines", unit="image"))
    finally:
        pool.shutdown(cancel_futures=True)
