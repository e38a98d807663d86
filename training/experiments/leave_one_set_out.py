"""Leave one set out: the images of some names are for comparing, and nobody trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from training.data.dataset_layouts import ALL
from training.data.ratings import Ratings, Split
from training.data.targets import some

LEFT_OUT: Final = "left_out"


def leave_out(data: Ratings, patterns: Sequence[str]) -> Ratings:
    """
    Move the images of some names from those to train and to validate on to a split of their own.

    The test split stays as it is, so that it can still be looked at once.

    Args:
        data: A data set.
        patterns: Of names, such as `ss03*`: * is anything, ? one character, case counts.

    Returns:
        The data set with one split more, `left_out`.

    Raises:
        ValueError: No name is of a pattern, or fewer than two images are left to train or to
            validate on.
    """
    kept, taken = {}, {}
    for name in ("train", "val"):
        split = data.splits[name]
        is_out = [any(fnmatchcase(image, one) for one in patterns) for image in split.names]
        kept[name] = _where(split, [not one for one in is_out])
        taken[name] = _where(split, is_out)
    out = replace(data, splits=taken).split(ALL)
    if len(out) < 2:
        raise ValueError(
            f"--leave-out: expected a pattern of names such as {some(data.splits['train'].names)}, "
            f"got {' '.join(patterns)}, which {len(out)} names are of. Write * for anything."
        )
    if min(map(len, kept.values())) < 2:
        counts = ", ".join(f"{name} {len(split)}" for name, split in kept.items())
        raise ValueError(
            f"--leave-out: expected at least 2 images left in each split, got {counts}. Leave out "
            "less."
        )
    return replace(data, splits={**data.splits, **kept, LEFT_OUT: out}, is_official=False)


def _where(split: Split, is_wanted: Sequence[bool]) -> Split:
    return split.part(lambda rows: [row for row in rows if is_wanted[row]])
