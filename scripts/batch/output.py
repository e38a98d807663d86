"""
The file of results: CSV, Parquet or JSON lines.

It is replaced as a whole, by one rename, and so it is valid at any moment.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from scripts.batch.rows import Columns, Row

FORMATS: Final = (".csv", ".parquet", ".jsonl")
ROWS_A_GROUP: Final = 10_000
"""Of Parquet: what is held in memory at once."""


def format_of(path: Path) -> str:
    """
    Return the format by the file's name.

    Raises:
        ValueError: It is none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"--out: expected a name that ends in {', '.join(FORMATS)}, got {str(path)!r}."
        )
    return path.suffix.lower()


def replace(path: Path, unfinished: Path, columns: Columns, rows: Iterable[Row]) -> int:
    """
    Write an output and put it in place by one rename.

    Args:
        path: The output.
        unfinished: Where it is written, on the same file system.
        columns: Of every row; what a row lacks is empty, what it has beyond is left out.
        rows: In order.

    Returns:
        How many there are.

    Raises:
        OSError: The disk is full. The output is as before.
    """
    write = {".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl}[format_of(path)]
    count = write(unfinished, columns, rows)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    return count


def read(path: Path) -> Iterator[Row]:
    """
    Read the rows of an output; of CSV all values are text, as they stand there.

    Raises:
        ValueError: It is no such file.
    """
    try:
        yield from {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}[
            format_of(path)
        ](path)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, OSError) as error:
        raise ValueError(
            f"{path}: expected rows of this command, got {type(error).__name__}: {error}. "
            "Give another --out, or --no-resume to replace it."
        ) from error


def _csv(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    # A name that is no UTF-8 is written as Python shows it: \udcff for the byte ff.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        # Of Python's own accord a carriage return is not quoted, and readers end a row at it.
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        for row in rows:
            cells = [row.get(name) for name in columns]
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoting if has_return else writer).writerow(cells)
            count += 1
    return count


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, strict=True)


def _jsonl(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            whole = {name: row.get(name) for name in columns}
            file.write(json.dumps(whole, ensure_ascii=False) + "\n")
            count += 1
    return count


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        following = iter(rows)
        while group := list(itertools.islice(following, ROWS_A_GROUP)):
            whole = [{name: encodable(row.get(name)) for name in columns} for row in group]
            writer.write_table(pa.Table.from_pylist(whole, schema=schema))
            count += len(whole)
    return count


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise OSError(str(error)) from error


def encodable(value: Any) -> Any:
    """Return a value as UTF-8 can hold it: a byte that is no text as Python shows it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
