"""What a prediction log says of pictures, by the version that scored them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from iqa.drift.comparison import Columns, columns_of
from iqa.drift.measures import FEATURES, PIXELS, SCORE, Measures, of_file
from iqa.prediction_log.manifest import utc

from scripts.prediction_log.counts import moment_of
from scripts.prediction_log.reading import rows_of

SCORED: Final = "iqa.prediction.scored"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """
    Pictures that one version scored, by time.

    Attributes:
        version: NAME VERSION.
        times: When each was answered, in UTC.
        columns: What was measured of each, as far as all rows tell it.
    """

    version: str
    times: pd.DatetimeIndex
    columns: Columns

    def part(self, first: int, end: int) -> Traffic:
        """Return the pictures from a place to another one."""
        return Traffic(
            version=self.version,
            times=self.times[first:end],
            columns={name: column[first:end] for name, column in self.columns.items()},
        )


def traffic_of(
    folder: Path, since: str | None = None, until: str | None = None
) -> dict[str, Traffic]:
    """
    Return what a log says, by version in the order of their first answers.

    Rows without the pixels' measures are left out: of an archive that has no reference, or of a
    server before it could measure.

    Args:
        folder: Of the log.
        since: First time, in ISO 8601; UTC where it names no zone.
        until: The time from which on rows are left out.

    Raises:
        ValueError: The folder holds no log, a time is none, or no row tells what is wanted.
    """
    first = "" if since is None else _stamp(moment_of("--since", since))
    end = "~" if until is None else _stamp(moment_of("--until", until))
    found: dict[str, list[tuple[str, Measures]]] = {}
    for version, time, measures in _measured(folder, first, end):
        found.setdefault(version, []).append((time, measures))
    traffic = {}
    for version, pictures in found.items():
        pictures.sort(key=lambda one: one[0])
        traffic[version] = Traffic(
            version=version,
            times=pd.DatetimeIndex(pd.to_datetime([time for time, _ in pictures], utc=True)),
            columns=columns_of([measures for _, measures in pictures]),
        )
    if not traffic:
        raise ValueError(
            f"{folder}: expected answers with what was measured of their pictures, found none. "
            "The archive needs a reference, python -m training.drift_reference, and the server "
            "--prediction-log; or leave out --since and --until."
        )
    return dict(sorted(traffic.items(), key=lambda one: one[1].times[0]))


def _stamp(moment: pd.Timestamp) -> str:
    """Return a moment as rows have it, whose texts sort by time."""
    return utc(moment.timestamp())


def _measured(folder: Path, first: str, end: str) -> Iterator[tuple[str, str, Measures]]:
    """Yield version, time and measures of each row that has them; erased ones have none."""
    for row in rows_of(folder):
        data = row["data"]
        is_scored = row.get("type") == SCORED and PIXELS[0] in data
        if is_scored and first <= row["time"] < end:
            yield f"{data['model']} {data['version']}", row["time"], _measures(data)


def _measures(data: Mapping[str, Any]) -> Measures:
    measures = of_file((data["width"], data["height"]), data["format"])
    measures |= {name: data[name] for name in (*PIXELS, SCORE) if name in data}
    return measures | dict(zip(FEATURES, data.get("features", ()), strict=False))
