"""How many answers there were, of which kind, with which scores: by hour and version."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from scripts.prediction_log import parquet
from scripts.prediction_log.reading import PARQUET, flat, lines_of, segments

COLUMNS: Final = ["time", "type", "model", "version", "score", "label", "reason", "erased"]
KINDS: Final = ("scored", "explained", "rejected", "expired", "failed")
STEPS: Final = {"hour": "h", "day": "D"}
QUANTILES: Final = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

Summary = dict[str, Any]


def answers(folder: Path, since: str | None = None, until: str | None = None) -> pd.DataFrame:
    """
    Return the answers of a log, a row each, with `COLUMNS`; times are in UTC.

    Args:
        folder: Of the log.
        since: First time, in ISO 8601; UTC where it names no zone.
        until: The time from which on they are left out.

    Raises:
        ValueError: The folder holds no log, or a time is none.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for path in segments(folder).values():
        if path.suffix == PARQUET:
            part = parquet.columns_of(path, COLUMNS).to_pandas()
        else:
            rows = [flat(line.row) for line in lines_of(path) if line.row is not None]
            part = pd.DataFrame(rows, columns=COLUMNS)
        part["time"] = pd.to_datetime(part["time"], utc=True)
        parts.append(part)
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    if since is not None:
        frame = frame[frame["time"] >= moment_of("--since", since)]
    if until is not None:
        frame = frame[frame["time"] < moment_of("--until", until)]
    return frame


def summaries(frame: pd.DataFrame, step: str) -> list[Summary]:
    """
    Return counts and scores by time, model and version.

    Args:
        frame: Of `answers`.
        step: hour or day.

    Returns:
        For each: `begin`, `model`, `version`, `answers`, one count for each of `KINDS`, `erased`,
        `mean`, `p10`, `p50`, `p90` of the scores that are not erased (None without one), `labels`
        and `reasons` with a count each.
    """
    begin = frame["time"].dt.floor(STEPS[step])
    found = []
    groups: Any = frame.groupby([begin, "model", "version"], sort=True)  # keys are Hashable to it
    for (start, model, version), group in groups:
        kinds = group["type"].str.rpartition(".")[2]
        scored = group[kinds == "scored"]
        scores = pd.to_numeric(scored["score"]).dropna()
        found.append(
            {
                "begin": start.strftime("%Y-%m-%dT%H:%MZ"),
                "model": model,
                "version": version,
                "answers": len(group),
                **{kind: int((kinds == kind).sum()) for kind in KINDS},
                "erased": int(group["erased"].notna().sum()),
                "mean": round(float(scores.mean()), 2) if len(scores) else None,
                **{
                    name: round(float(scores.quantile(share)), 2) if len(scores) else None
                    for name, share in QUANTILES.items()
                },
                "labels": _counts(scored["label"]),
                "reasons": _counts(group["reason"]),
            }
        )
    return found


def as_text(found: list[Summary]) -> str:
    """Return summaries as a table for a terminal."""
    titles = ["begin (UTC)", "model", "answers", *KINDS, "erased", "mean", *QUANTILES, "reasons"]
    rows = [
        [
            one["begin"], f"{one['model']} {one['version']}", str(one["answers"]),
            *(str(one[kind]) for kind in KINDS), str(one["erased"]),
            *("-" if one[name] is None else f"{one[name]:.2f}" for name in ("mean", *QUANTILES)),
            in_words(one["reasons"]),
        ]
        for one in found
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in (0, 1, len(titles) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (titles, *rows)
    )


def in_words(counts: dict[str, int]) -> str:
    """Return counts by name as one text."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in column.dropna().value_counts().items()}


def moment_of(option: str, told: str) -> pd.Timestamp:
    """
    Return a time that an option names; UTC where it names no zone.

    Raises:
        ValueError: It is none as ISO 8601 writes it. 03-12-2026 is one of two days, and "today" is
            the machine's and not UTC's.
    """
    try:
        moment = pd.Timestamp(datetime.fromisoformat(told))
    except ValueError as error:
        raise ValueError(
            f"{option}: expected a time as 2026-11-29 or 2026-11-29T14:00, got {told!r}."
        ) from error
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment
