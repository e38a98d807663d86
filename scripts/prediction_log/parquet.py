"""
Segments as Parquet: typed columns, a quarter of the size, and the same rows to the last bit.

A column a field; what a row lacks is null in it. The chain's digests are over the JSON of a row,
which is made again from the columns: so a type that would change a value is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from iqa.prediction_log.chain import Row, canonical

from scripts.prediction_log.reading import PARQUET

TOP: Final = {
    "specversion": pa.string(),
    "id": pa.string(),
    "source": pa.string(),
    "type": pa.string(),
    "time": pa.timestamp("ms", tz="UTC"),
    "subject": pa.string(),
    "datacontenttype": pa.string(),
    "traceparent": pa.string(),
    "prevhash": pa.string(),
    "hash": pa.string(),
    "salt": pa.string(),
    "contenthash": pa.string(),
    "erased": pa.string(),
}
DATA: Final = {
    "request_id": pa.string(),
    "model": pa.string(),
    "version": pa.string(),
    "archive_sha256": pa.string(),
    "status": pa.int64(),
    "reason": pa.string(),
    "bytes": pa.int64(),
    "width": pa.int64(),
    "height": pa.int64(),
    "format": pa.string(),
    "brightness": pa.float64(),
    "shadows": pa.float64(),
    "contrast": pa.float64(),
    "sharpness": pa.float64(),
    "detail": pa.float64(),
    "noise": pa.float64(),
    "gradation": pa.float64(),
    "features": pa.list_(pa.float64()),
    "score": pa.float64(),
    "label": pa.string(),
    "interval": pa.list_(pa.float64()),
    "class": pa.int64(),
    "confidence": pa.float64(),
    "decision": pa.string(),
    "warnings": pa.list_(pa.string()),
    "queue_s": pa.float64(),
    "decode_s": pa.float64(),
    "network_s": pa.float64(),
    "whole_s": pa.float64(),
}
SCHEMA: Final = pa.schema([*TOP.items(), *DATA.items()])
BATCH_ROWS: Final = 10_000
UNFINISHED: Final = ".new"
"""At the end of the name of a file that is being written."""


def rows_of(path: Path) -> Iterator[Row]:
    """
    Yield the rows of a file, as they were in JSON.

    Raises:
        OSError: It cannot be read, or is no Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield from map(_row, batch.to_pylist())
    except pa.ArrowInvalid as error:
        raise OSError(f"{path}: expected Parquet, got: {error}") from error


def write(path: Path, rows: Iterable[Row]) -> None:
    """
    Write rows to a file, at once: it is whole or not there.

    Raises:
        ValueError: A row would come back as another one.
        OSError: It cannot be written.
    """
    fresh = path.with_name(f"{path.name}{UNFINISHED}")
    fresh.unlink(missing_ok=True)
    waiting: list[Row] = []
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                for row in rows:
                    waiting.append(row)
                    if len(waiting) == BATCH_ROWS:
                        writer.write_table(_table(waiting))
                        waiting = []
                writer.write_table(_table(waiting))
            file.flush()
            os.fsync(file.fileno())
        owner = path.parent.stat()
        with contextlib.suppress(PermissionError):  # root leaves files that the server can read
            os.chown(fresh, owner.st_uid, owner.st_gid)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """
    Remove what a killed command left half written: there may be pictures in it.

    Raises:
        OSError: It cannot be removed.
    """
    for path in folder.glob(f"*{PARQUET}{UNFINISHED}"):
        path.unlink(missing_ok=True)


def columns_of(path: Path, names: list[str]) -> pa.Table:
    """
    Return some columns of a file.

    Raises:
        OSError: It cannot be read, or is no Parquet.
    """
    try:
        return pq.read_table(path, columns=names)
    except pa.ArrowInvalid as error:
        raise OSError(f"{path}: expected Parquet, got: {error}") from error


def _table(rows: list[Row]) -> pa.Table:
    table = pa.Table.from_pylist([_columns(row) for row in rows], schema=SCHEMA)
    for row, back in zip(rows, map(_row, table.to_pylist()), strict=True):
        if canonical(row) != canonical(back):  # as the chain sees it: 83 is not 83.0
            raise ValueError(
                f"row {row.get('id')}: expected fields as this version writes them, got others. "
                "It stays in JSON Lines; a later version may know them."
            )
    return table


def _columns(row: Row) -> dict[str, Any]:
    unknown = (row.keys() - TOP.keys() - {"data"}) | (row["data"].keys() - DATA.keys())
    if unknown:
        raise ValueError(f"row {row.get('id')}: expected known fields, got {sorted(unknown)}.")
    told = {**{k: v for k, v in row.items() if k != "data"}, **row["data"]}
    told["time"] = datetime.fromisoformat(row["time"])
    return told


def _row(columns: dict[str, Any]) -> Row:
    told = {name: value for name, value in columns.items() if value is not None}
    stamp: datetime = told["time"].astimezone(UTC)
    told["time"] = f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"
    row = {name: value for name, value in told.items() if name in TOP}
    row["data"] = {name: value for name, value in told.items() if name in DATA}
    return row
