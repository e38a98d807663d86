"""Windows of pictures, drawn again and again from what was measured once: what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import numpy as np
from iqa.drift.comparison import Columns, Compared, compare
from iqa.drift.reference import Reference
from numpy.typing import NDArray
from tqdm import tqdm

from training.drift.fit import fit

Draw = Callable[[np.random.Generator], Compared]
LEVELS: Final = (2, 3, 4, 5)


def chosen(columns: Columns, places: NDArray[Any]) -> Columns:
    """Return some of the pictures."""
    return {name: column[places] for name, column in columns.items()}


def joined(*parts: Columns) -> Columns:
    """Return the pictures of several, by the measures that all have."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in shared}


def size_of(columns: Columns) -> int:
    """Return how many pictures there are."""
    return len(next(iter(columns.values())))


def split_at_random(columns: Columns, window: int, untested: Collection[str]) -> Draw:
    """Return what takes a window out, and compares it with a reference of all the rest."""

    def draw(rng: np.random.Generator) -> Compared:
        order = rng.permutation(size_of(columns))
        reference = fit(chosen(columns, order[window:]), untested=untested)
        return compare(reference, chosen(columns, order[:window]))

    return draw


def part_at_random(columns: Columns, window: int, reference: Reference) -> Draw:
    """Return what takes a window out, and compares it with a given reference."""

    def draw(rng: np.random.Generator) -> Compared:
        return compare(reference, chosen(columns, rng.permutation(size_of(columns))[:window]))

    return draw


def damaged_at_random(
    intact: Columns, damaged: Columns, window: int, share: float, reference: Reference
) -> Draw:
    """
    Return what makes a window in which a share of the pictures is damaged.

    Args:
        intact: Pictures.
        damaged: A damaged copy of each of them, in the same order.
        window: Pictures of a window, each once, damaged or not.
        share: Of them that is damaged.
        reference: What it is compared with.
    """

    def draw(rng: np.random.Generator) -> Compared:
        order = rng.permutation(size_of(intact))[:window]
        n = round(share * window)
        mixed = joined(chosen(damaged, order[:n]), chosen(intact, order[n:]))
        return compare(reference, mixed)

    return draw


def one_damage(
    intact: Columns,
    damaged: Columns,
    which: NDArray[np.bool_],
    window: int,
    share: float,
    reference: Reference,
) -> Draw:
    """Do the same with copies of one kind of damage, some of them several times if need be."""
    copies = np.flatnonzero(which)

    def draw(rng: np.random.Generator) -> Compared:
        n = round(share * window)
        taken = rng.choice(copies, n, replace=n > len(copies))
        rest = rng.permutation(np.setdiff1d(np.arange(size_of(intact)), taken))[: window - n]
        return compare(reference, joined(chosen(damaged, taken), chosen(intact, rest)))

    return draw


def verdicts(draw: Draw, windows: int, seed: int, title: str) -> dict[str, Any]:
    """
    Draw windows and count what is said of them.

    Returns:
        `windows`, `nothing`, `pictures`, `model`, and `moved`: by measure in how many windows.
    """
    found: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for compared in _drawn(draw, windows, seed, title):
        found[compared.verdict] += 1
        moved.update(compared.moved)
    return {
        "case": title,
        "windows": windows,
        **{verdict: found[verdict] for verdict in ("nothing", "pictures", "model")},
        "moved": dict(moved.most_common()),
    }


def _drawn(draw: Draw, windows: int, seed: int, title: str) -> Iterator[Compared]:
    for number in tqdm(range(windows), desc=title, unit="window"):
        yield draw(np.random.default_rng((seed, number, *title.encode())))
