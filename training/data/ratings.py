"""
Rated or labelled images, checked: what every data set looks like once its adapter has read it.

The checks of a data set are here and run before training: wrong scale, missing pictures,
duplicate names, empty splits are refused with the counts and what to do.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.imaging.preprocessing import DEFAULT, Policy
from numpy.typing import NDArray

from training.data.cache import expect_folder
from training.data.config import DataConfig
from training.data.dataset_layouts import ALL, SPLITS, ImageFile, Layout, Options
from training.data.datasets import DATASETS
from training.data.targets import Targets, mos_targets, some

logger = logging.getLogger(__name__)

FOUND_ELSEWHERE: Final = frozenset({"fashion_mnist"})
"""Data sets that a package may have installed, or that can be fetched into a new folder."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """
    The rated pictures of one split.

    Attributes:
        names: As in the ratings file.
        paths: Same order.
        target: float64, shape (N,), what the network is to say: for quality the ratings in [0, 1].
        cache: Folder of decoded pictures, if they are to be kept.
        policy: How an image becomes the network's input.
        pixels: The network's inputs, uint8 (N, H, W, C), where they are kept in memory.
    """

    names: list[str]
    paths: Sequence[ImageFile]
    target: NDArray[np.float64]
    cache: Path | None = None
    policy: Policy = DEFAULT
    pixels: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.paths)

    def part(self, choose: Callable[[Sequence[int]], Sequence[int]]) -> Split:
        """Return the pictures whose numbers are chosen of 0, 1, ..."""
        chosen = choose(range(len(self)))
        return Split(
            names=[self.names[i] for i in chosen],
            paths=[self.paths[i] for i in chosen],
            target=self.target[np.array(chosen, dtype=int)],
            cache=self.cache,
            policy=self.policy,
            pixels=None if self.pixels is None else self.pixels[np.array(chosen, dtype=int)],
        )

    def seen_by(self, policy: Policy) -> Split:
        """Return the same images as the input of a network of another policy."""
        return self if policy == self.policy else replace(self, policy=policy, pixels=None)

    @cached_property
    def file_digests(self) -> list[str]:
        """The SHA-256 of each image's bytes."""
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.paths]

    def digest(self) -> str:
        """
        Return a SHA-256 over names, ratings and the pictures' bytes, whatever their order.

        Two models may be compared where this is equal: same pictures, same ratings.
        """
        lines = sorted(
            f"{name}\0{target:.9f}\0{digest}"
            for name, target, digest in zip(self.names, self.target, self.file_digests, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """
    A data set.

    Attributes:
        name: As on the command line.
        mos_range: Lowest and highest possible rating, in the data set's unit; None without ratings.
        splits: By train, val, test.
        is_official: The authors' split, with all its pictures.
        facts: What a model's card says of the targets, such as the names of classes.
    """

    name: str
    mos_range: tuple[float, float] | None
    splits: dict[str, Split]
    is_official: bool
    facts: dict[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        """Return one split, or all pictures in one for the name `all`."""
        if name != ALL:
            return self.splits[name]
        parts = self.splits.values()
        return Split(
            names=[name for part in parts for name in part.names],
            paths=[path for part in parts for path in part.paths],
            target=np.concatenate([part.target for part in parts]),
            cache=next(iter(parts)).cache,
            policy=next(iter(parts)).policy,
        )

    def duplicates(self) -> list[tuple[str, str]]:
        """Return the names of images that are the same, byte for byte, in two splits."""
        first: dict[str, tuple[str, str]] = {}
        found = []
        for split, part in self.splits.items():
            for name, digest in zip(part.names, part.file_digests, strict=True):
                other_split, other = first.setdefault(digest, (split, name))
                if other_split != split:
                    found.append((other, name))
        return found

    def counts(self) -> dict[str, int]:
        """Return the number of pictures by split."""
        return {name: len(split) for name, split in self.splits.items()}


def load(
    config: DataConfig,
    needed: tuple[str, ...] = SPLITS,
    targets: Targets = mos_targets,
    policy: Policy = DEFAULT,
) -> Ratings:
    """
    Read and check a data set.

    Args:
        config: Which one, where, and how much of it.
        needed: Splits that must hold pictures: training wants all three, evaluation one.
        targets: The targets of the model's task.
        policy: The model's policy: how an image becomes the network's input.

    Raises:
        FileNotFoundError: The folder or the ratings file is missing.
        ValueError: Any of the checks failed.
    """
    if config.cache is not None:
        expect_folder(config.cache)
    if not config.data_dir.is_dir() and config.dataset not in FOUND_ELSEWHERE:
        raise FileNotFoundError(
            f"--data-dir: expected a folder, got {config.data_dir}. "
            "Make a synthetic one: python -m training.demo_data --out DIR."
        )
    if config.columns and config.dataset != "csv":
        raise ValueError(
            f"--columns: expected --dataset csv, got {config.dataset}, whose columns are known. "
            "Leave the option out."
        )
    options = Options(
        labels=config.labels,
        mos_range=config.mos_range,
        columns=config.columns or {},
        download=config.download,
    )
    layout = DATASETS[config.dataset](config.data_dir, options)
    for note in layout.notes:
        logger.info("%s: %s", config.dataset, note)
    _check_names(layout)
    target, facts = targets(layout)
    _check_splits(layout, needed)
    table = layout.table.assign(target=target)
    paths = _find_pictures(layout)
    splits = {}
    for name in SPLITS:
        rows = table[table["split"] == name]
        if config.limit is not None and config.limit < len(rows):
            rows = rows.sample(config.limit, random_state=0).sort_index()
        splits[name] = Split(
            names=list(rows["image_name"]),
            paths=[paths[image_name] for image_name in rows["image_name"]],
            target=rows["target"].to_numpy(dtype=np.float64),
            cache=config.cache,
            policy=policy,
        )
    ratings = Ratings(
        name=layout.name or config.dataset,
        mos_range=layout.mos_range,
        splits=splits,
        is_official=_report_split(config, layout, {k: len(v) for k, v in splits.items()}),
        facts=facts,
    )
    return ratings


def _check_names(layout: Layout) -> None:
    names = layout.table["image_name"]
    doubled = names[names.duplicated()].unique()
    if len(doubled):
        raise ValueError(
            f"ratings: expected each image name once, got {len(doubled)} names more than once "
            f"({some(doubled)}). Keep one row for each."
        )


def _check_splits(layout: Layout, needed: tuple[str, ...]) -> None:
    table = layout.table
    empty = [name for name in needed if (table["split"] == name).sum() < 2]
    if empty:
        raise ValueError(
            f"ratings: expected at least 2 pictures in each of {', '.join(needed)}, got "
            f"{table['split'].value_counts().to_dict()}. Add rows to {', '.join(empty)}."
        )


def _find_pictures(layout: Layout) -> Mapping[str, ImageFile]:
    """Map each image name to its file, ignoring letter case where the exact name is missing."""
    if layout.files is not None:
        return layout.files
    wanted = list(layout.table["image_name"])
    best: dict[str, Path] = {}
    for directory in layout.image_dirs:
        found = _files_of(directory, wanted) if directory.is_dir() else {}
        if len(found) > len(best):
            best = found
        if len(best) == len(wanted):
            break
    missing = [name for name in wanted if name not in best]
    if missing:
        folders = ", ".join(str(directory) for directory in layout.image_dirs)
        raise FileNotFoundError(
            f"pictures: expected {len(wanted)} files, got {len(best)}; missing {len(missing)} "
            f"({some(missing)}). Looked in {folders}."
        )
    return best


def _files_of(directory: Path, wanted: list[str]) -> dict[str, Path]:
    # An absolute name replaces the folder: `Path("a") / "/b"` is `/b`.
    found = {name: directory / name for name in wanted if (directory / name).is_file()}
    if len(found) < len(wanted):
        present = {str(path.relative_to(directory)).lower(): path for path in directory.rglob("*")}
        for name in wanted:
            if name not in found and name.lower() in present:
                found[name] = present[name.lower()]
    return found


def _report_split(config: DataConfig, layout: Layout, counts: dict[str, int]) -> bool:
    text = ", ".join(f"{name} {counts[name]}" for name in SPLITS)
    if not layout.official_counts:
        logger.info("%s: %s pictures", config.dataset, text)
        return False
    is_official = counts == layout.official_counts
    official = "/".join(str(n) for n in layout.official_counts.values())
    verdict = "the official split" if is_official else f"not the official split ({official})"
    logger.info("%s: %s pictures: %s", config.dataset, text, verdict)
    return is_official
