"""
Make a synthetic data set in a folder, unless it is there.

For `training.demo_data`: photographs with ratings that nobody gave, or lines of text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from training.data import demo_lines
from training.data.demo_choices import HANDWRITING, MIN_PICTURES, QUALITY
from training.data.demo_images import PHOTOGRAPHS, Plan, make_pictures, plan
from training.data.distortions import DISTORTIONS, LEVELS
from training.data.fonts import find_fonts
from training.data.pseudo_mos import imagined_votes, pseudo_mos

logger = logging.getLogger(__name__)

PICTURES_DIR: Final = "data/512x384"
RATINGS_FILE: Final = "data/koniq10k_distributions_sets.csv"
README_FILE: Final = "README.txt"
MARK: Final = "SYNTHETIC RATED PICTURES, made by training.demo_data"

# Another version of these may give other bytes for the same seed.
PACKAGES: Final = ("numpy", "pillow", "piq", "scikit-image", "scikit-learn", "torch")

README: Final = """{mark}

{pictures} pictures, seed {seed}, in the layout of KonIQ-10k. No person has rated them.

What: crops of photographs that scikit-image and scikit-learn ship, pristine or with one of
{kinds} kinds of distortion at {levels} levels (training/data/distortions.py). The file name tells
which.
How rated: HaarPSI, VSI and 1 - MDSI (piq) of each file against its undistorted crop; the mean of
the three ranks is mapped to the quantiles of KonIQ-10k's MOS. c1..c5 and SD are drawn: votes of
93 to 157 imagined viewers around that MOS, so they agree with it only roughly.

This is a synthetic pseudo-MOS, never to be compared with published figures. The same
photographs are in training, validation and test: a correlation on this data means nothing
outside tests of the pipeline.

Photographs: {scenes}.
china and flower: CC BY 2.0, by danielbuechele and vultilion, cropped and distorted here.
motorcycle: Middlebury 2014 stereo benchmark. The others: public domain or CC0, as the
documentation of skimage.data says.

Made with {packages}.
"""


def make(out: Path, pictures: int = 400, seed: int = 0) -> Path:
    """
    Make the data set, unless the same one is already there.

    Args:
        out: Its folder; made if missing.
        pictures: How many.
        seed: Same seed, same bytes.

    Returns:
        The ratings file.

    Raises:
        ValueError: Too few pictures, a negative seed, or `out` holds something else.
    """
    _check_numbers(pictures, MIN_PICTURES[QUALITY], seed)
    readme = README.format(
        mark=MARK, pictures=pictures, seed=seed, kinds=len(DISTORTIONS), levels=len(LEVELS),
        scenes=", ".join(PHOTOGRAPHS), packages=", ".join(f"{p} {version(p)}" for p in PACKAGES),
    )  # fmt: skip
    plans = plan(pictures, seed)
    ratings = out / RATINGS_FILE
    _check_is_own(out, MARK)
    if _is_complete(out, readme, plans):
        logger.info("%s: the synthetic data set is already there", out)
        return ratings
    _remove_earlier(out)
    (out / PICTURES_DIR).mkdir(parents=True, exist_ok=True)
    (out / README_FILE).write_text(readme)
    similarity = make_pictures(out / PICTURES_DIR, plans, seed)
    # Last, so that a folder with ratings is complete.
    _ratings(plans, similarity, seed).to_csv(ratings, index=False)
    counts = pd.Series([item.split for item in plans]).value_counts().to_dict()
    logger.info("%s: %d synthetic pictures %s, synthetic pseudo-MOS", out, pictures, counts)
    return ratings


def make_lines(out: Path, pictures: int = 400, seed: int = 0) -> Path:
    """
    Make the data set of text lines, unless the same one is already there.

    Args:
        out: Its folder; made if missing.
        pictures: How many.
        seed: Same seed and fonts, same bytes.

    Returns:
        The folder.

    Raises:
        ValueError: Too few pictures or fonts, a negative seed, or `out` holds something else.
    """
    _check_numbers(pictures, MIN_PICTURES[HANDWRITING], seed)
    _check_is_own(out, demo_lines.MARK)
    fonts = find_fonts()
    lines = demo_lines.plan(pictures, seed, fonts)
    readme, path = demo_lines.readme(lines, seed, fonts), out / README_FILE
    is_complete = path.is_file() and path.read_text() == readme
    if is_complete and all((out / line.path).is_file() for line in lines):
        logger.info("%s: the synthetic text lines are already there", out)
        return out
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{demo_lines.MARK}\n\nnot complete: make it again\n")
    for earlier in out.rglob("synthetic-*.jpg"):
        earlier.unlink()
    demo_lines.draw(out, lines, seed)
    # Last, so that a folder with these words is complete.
    path.write_text(readme)
    logger.info("%s: %d synthetic text lines, drawn with fonts", out, pictures)
    return out


MAKERS: Final[dict[str, Callable[[Path, int, int], Path]]] = {
    QUALITY: make,
    HANDWRITING: make_lines,
}
"""By `--task`."""


def _check_numbers(pictures: int, least: int, seed: int) -> None:
    if pictures < least:
        raise ValueError(f"--pictures: expected at least {least}, got {pictures}.")
    if seed < 0:
        raise ValueError(f"--seed: expected at least 0, got {seed}.")


def _check_is_own(out: Path, mark: str) -> None:
    """Refuse a folder that holds something else: pictures in it would be replaced."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: expected a folder, got the file {out}. Name another.")
    if not out.exists() or not any(out.iterdir()):
        return
    readme = out / README_FILE
    if not readme.is_file() or not readme.read_bytes().startswith(mark.encode()):
        raise ValueError(
            f"--out: expected an empty folder or an earlier synthetic data set, got {out} with "
            "other files. Name another folder."
        )


def _is_complete(out: Path, readme: str, plans: list[Plan]) -> bool:
    return (
        (out / RATINGS_FILE).is_file()
        and (out / README_FILE).read_text() == readme
        and all((out / PICTURES_DIR / item.name).is_file() for item in plans)
    )


def _remove_earlier(out: Path) -> None:
    (out / RATINGS_FILE).unlink(missing_ok=True)
    for path in (out / PICTURES_DIR).glob("synthetic-*.jpg"):
        path.unlink()


def _ratings(
    plans: list[Plan], similarities: list[tuple[float, float, float]], seed: int
) -> pd.DataFrame:
    """Return the table in KonIQ-10k's columns."""
    mos = pseudo_mos(np.array(similarities))
    votes = imagined_votes(mos, np.random.default_rng((seed, 2)))
    sd = votes.pop("SD")
    return pd.concat(
        [
            pd.Series([item.name for item in plans], name="image_name"),
            votes,
            pd.Series(mos, name="MOS"),
            sd,
            pd.Series([item.split for item in plans], name="set"),
        ],
        axis=1,
    )
