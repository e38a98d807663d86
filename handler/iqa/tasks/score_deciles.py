"""Ten equal ranges of the score, by which a drift of the scores is noticed; the only definition."""

from __future__ import annotations

from typing import Final

TENTHS: Final = tuple(f"{low}-{low + 10}" for low in range(0, 100, 10))
"""A range holds its lower end and not its upper one; the last one holds 100 too."""


def tenth_of_score(score: float) -> str:
    """Return the range that holds a score in [0, 100]."""
    return TENTHS[min(int(score / 10), len(TENTHS) - 1)]
