"""A version's traffic in windows, each compared with the reference; and what that says in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from iqa.drift.comparison import MIN_PICTURES, Compared, compare
from iqa.drift.reference import Reference

from scripts.drift_report.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What is said of a version's traffic.

    Attributes:
        traffic: All of it.
        reference: What it is compared with.
        windows: End of each window, and how it compares; the newest last.
    """

    traffic: Traffic
    reference: Reference
    windows: list[tuple[str, Compared]]

    @property
    def newest(self) -> Compared:
        """Return how the newest window compares."""
        return self.windows[-1][1]


def report_of(traffic: Traffic, reference: Reference, window: int) -> Report:
    """
    Compare a version's traffic.

    Args:
        traffic: Of the version.
        reference: Of the version.
        window: Pictures of a window. They are counted back from the newest picture; what is left
            over at the beginning is a window where it is at least half of one.
    """
    total = len(traffic.times)
    ends = list(range(total, 0, -window))[::-1]
    found = []
    for end in ends:
        first = max(0, end - window)
        if end - first < window / 2 and end != total:
            continue
        part = traffic.part(first, end)
        found.append((f"{part.times[-1]:%Y-%m-%d %H:%M}", compare(reference, part.columns)))
    return Report(traffic=traffic, reference=reference, windows=found)


def verdict_in_words(report: Report) -> str:
    """Return what moved, in sentences for somebody who does not know the method."""
    newest = report.newest
    pictures = f"The newest {newest.pictures:,} pictures of {report.traffic.version}"
    if newest.pictures < MIN_PICTURES:
        return f"{pictures} are too few to tell: at least {MIN_PICTURES} are needed."
    if newest.verdict == "nothing":
        return (
            f"Nothing moved. {pictures} are spread as those of the reference in all "
            f"{len(newest.over)} measures that are tested."
        )
    if newest.verdict == "pictures":
        return f"The pictures moved. {pictures} are not as those of the reference."
    return (
        f"The model moved. {pictures} are as those of the reference, and the network makes "
        "something else of them. Either another model answers than the one that the reference was "
        "made with, or the pictures differ in what no statistic of pixels shows, such as their "
        "subjects: look at some of them, and at python -m scripts.deploy status."
    )


def details(report: Report) -> list[str]:
    """Return a sentence for each measure that moved: where there are more pictures now."""
    newest = report.newest
    said = []
    for name in newest.moved:
        spread = report.reference.spreads[name]
        now = np.asarray(newest.counts[name]) / newest.pictures
        then = np.asarray(spread.counts) / report.reference.pictures
        place = int(np.argmax((now - then) ** 2 / np.maximum(now + then, 1e-9)))
        said.append(
            f"{name}: {100 * now[place]:.1f} % of the pictures are in the range "
            f"{spread.labels[place]}, of the reference {100 * then[place]:.1f} %; "
            f"{newest.over[name]:.1f} times the limit"
        )
    return said
