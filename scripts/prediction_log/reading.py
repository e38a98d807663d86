"""The rows of a folder: of JSON Lines that are written, of those that are complete, of Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from iqa.prediction_log.chain import Row
from iqa.prediction_log.manifest import NAME
from iqa.prediction_log.segment import SUFFIX

PARQUET: Final = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Line:
    """
    A line of a segment.

    Attributes:
        row: None where it is no row.
        start: Of the line in the file, bytes; 0 in Parquet.
        size: Bytes, with its line break.
        is_torn: It has no line break: its writer was killed, or is writing it now.
    """

    row: Row | None
    start: int = 0
    size: int = 0
    is_torn: bool = False


def segments(folder: Path) -> dict[str, Path]:
    """
    Return the file of each segment, by name: the times of their starts.

    While a segment is made into Parquet it has both files for a moment; Parquet counts.

    Raises:
        ValueError: The folder holds no log.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected the folder of a prediction log, found none. Start the server with "
            "it: scripts/run_torchserve.sh --prediction-log DIR"
        )
    found = {
        path.stem: path
        for suffix in (SUFFIX, PARQUET)
        for path in sorted(folder.glob(f"*{suffix}"))
        if path.name != NAME
    }
    if not found and not (folder / NAME).exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a prediction log, found other files alone.")
    return dict(sorted(found.items()))


def lines_of(path: Path) -> Iterator[Line]:
    """
    Yield the lines of a segment.

    Raises:
        OSError: It cannot be read.
    """
    if path.suffix == PARQUET:
        from scripts.prediction_log import parquet

        yield from (Line(row=row) for row in parquet.rows_of(path))
        return
    start = 0
    with path.open("rb") as file:
        for text in file:
            is_torn = not text.endswith(b"\n")
            yield Line(
                row=None if is_torn else _parsed(text), start=start, size=len(text), is_torn=is_torn
            )
            start += len(text)


def rows_of(folder: Path) -> Iterator[Row]:
    """
    Yield every row that can be read, by segment; what is torn or spoilt is left out.

    Raises:
        ValueError: The folder holds no log.
    """
    for path in segments(folder).values():
        for line in lines_of(path):
            if line.row is not None:
                yield line.row


def flat(row: Row) -> dict[str, Any]:
    """Return a row with what is in `data` beside the rest, as the columns of Parquet are."""
    return {**{k: v for k, v in row.items() if k != "data"}, **row["data"]}


def _parsed(text: bytes) -> Row | None:
    try:
        row = json.loads(text)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and isinstance(row.get("data"), dict)
    return row if is_row else None
