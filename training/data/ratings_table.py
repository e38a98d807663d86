"""
Read a table of ratings as people save it: encodings, separators, decimal commas, line ends.

Nothing is guessed from the rows. How the form of a file is decided:

- Encoding: a byte order mark says it. Else zero bytes at every second place mean UTF-16. Else it is
  UTF-8, or Windows-1252 where it cannot be UTF-8; that is logged.
- Separator: the header line says it. It is split at commas, at semicolons and at tabs; the
  separator that finds the wanted columns is the file's. A first line `sep=;`, as Excel writes it,
  wins. Letter case, spaces and quotes around a header do not count, but an exact header wins.
- Decimal mark: the column of numbers says it. A comma in one of its cells makes the comma its
  decimal mark, and then no cell may have a point. No mark between thousands is known: `1,234` is
  a little more than one.
- A row with more cells than the header is refused: it holds a separator without quotes, as an
  unquoted decimal comma is in a file with commas.

Empty lines are skipped; quotes are those of CSV, and cells in them may hold separators and line
ends. Errors name the file, the line (from 1, as an editor counts them) and the column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data.dataset_layouts import split_of_set
from training.data.text_files import decoded

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
AS_PUBLISHED: Final = "Take the file as its authors publish it."

Record = tuple[int, list[str]]
"""The line that a row starts in, from 1, and its cells."""

_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[ \t;,]*(?:\r\n|\r|\n)', re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, kw_only=True)
class RatingsTable:
    """
    The wanted columns of a file, as text until they are asked for.

    Attributes:
        path: The file, for messages.
        headers: What each wanted column that is there is called in the file.
        cells: The cells of each wanted column that is there.
        lines: The line that each row starts in, from 1.
    """

    path: Path
    headers: dict[str, str]
    cells: dict[str, list[str]]
    lines: list[int]

    def __contains__(self, column: str) -> bool:
        return column in self.cells

    def texts(self, column: str) -> list[str]:
        """
        Return a column of words, with something in each row.

        Raises:
            ValueError: A cell is empty.
        """
        texts = [cell.rstrip() for cell in self.cells[column]]
        self._expect(column, "a name", texts, bool)
        return texts

    def names(self, column: str) -> list[str]:
        """
        Return a column of names, each of them once.

        Raises:
            ValueError: A cell is empty, or a name is there twice.
        """
        names = self.texts(column)
        first_line: dict[str, int] = {}
        for name, line in zip(names, self.lines, strict=True):
            if name in first_line:
                raise ValueError(
                    f"{self._place(column, line)}: expected each image name once, got {name} as in "
                    f"line {first_line[name]}; {len(set(names))} names in {len(names)} rows. "
                    "Keep one row for each."
                )
            first_line[name] = line
        return names

    def numbers(self, column: str) -> NDArray[np.float64]:
        """
        Return a column of finite numbers, shape (N,), with decimal points or decimal commas.

        Raises:
            ValueError: A cell is empty or no number, or there are points as well as commas.
        """
        texts = [cell.strip() for cell in self.cells[column]]
        self._expect(column, "a number", texts, lambda text: bool(_NUMBER.fullmatch(text)))
        places = {
            mark: next((i for i, text in enumerate(texts) if mark in text), None) for mark in ".,"
        }
        point, comma = places["."], places[","]
        if point is not None and comma is not None:
            raise ValueError(
                f"{self._place(column, self.lines[max(point, comma)])}: expected one decimal mark "
                f"in the column, got {texts[point]} in line {self.lines[point]} and {texts[comma]} "
                f"in line {self.lines[comma]}. Use points, and no mark between thousands."
            )
        return np.array([float(text.replace(",", ".")) for text in texts], dtype=np.float64)

    def splits(self, column: str) -> list[str]:
        """
        Return train, val or test for each row.

        Raises:
            ValueError: A cell is empty, or another word.
        """
        texts = self.cells[column]
        self._expect(
            column, "training, validation or test", texts, lambda t: split_of_set(t) is not None
        )
        return [str(split_of_set(text)) for text in texts]

    def _expect(
        self, column: str, expected: str, texts: list[str], is_right: Callable[[str], bool]
    ) -> None:
        wrong = [i for i, text in enumerate(texts) if not is_right(text)]
        if wrong:
            got = repr(texts[wrong[0]]) if texts[wrong[0]].strip() else "an empty cell"
            raise ValueError(
                f"{self._place(column, self.lines[wrong[0]])}: expected {expected}, got {got}; "
                f"{len(wrong)} of {len(texts)} rows are wrong. Correct or remove them."
            )

    def _place(self, column: str, line: int) -> str:
        return f"{self.path}, line {line}, column {self.headers[column]}"


def read_ratings(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    remedy: str = AS_PUBLISHED,
) -> RatingsTable:
    """
    Read columns of a text file of ratings.

    Args:
        path: The file, for messages.
        required: Columns that must be there.
        optional: Columns that are read if they are there.
        headers: What a column is called in the file, where that is not its own name; a column
            with an entry here must be there.
        remedy: What to do if a column is not there.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text, lacks a column, or has rows that do not fit its header.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a CSV file of ratings, got no such file.")
    wanted = {name: (headers or {}).get(name, name) for name in (*required, *optional)}
    needed = [wanted[name] for name in wanted if name in required or name in (headers or {})]
    separator, text = _separator(path, decoded(path), needed)
    rows = list(_records(path, text, separator))
    return _table(path, rows, wanted, needed, remedy, SEPARATORS.get(separator, separator))


def read_sheet(path: Path, required: Sequence[str]) -> RatingsTable:
    """
    Read columns of the first sheet of an Excel workbook; a line is a row of the sheet.

    Raises:
        ValueError: It lacks a column.
    """
    sheet = pd.read_excel(path, header=None, dtype=str, keep_default_na=False, engine="openpyxl")
    cells = sheet.astype(str).to_numpy().tolist()
    rows = [(line, row) for line, row in enumerate(cells, start=1) if any(row)]
    return _table(path, rows, {n: n for n in required}, list(required), AS_PUBLISHED, "cells")


def _separator(path: Path, text: str, needed: list[str]) -> tuple[str, str]:
    """Return the separator whose header has most of the needed columns, and the text of rows."""
    if told := _SEPARATOR_LINE.match(text):
        return told[1], "\n" + text[told.end() :]  # the lines keep their numbers
    headers: dict[str, list[str]] = {}
    refused: ValueError | None = None
    for separator in SEPARATORS:
        try:
            _, headers[separator] = next(_records(path, text, separator), (1, []))
        except ValueError as error:  # quotes that end before another separator
            refused = error
    if refused and not headers:
        raise refused

    def n_columns(separator: str) -> tuple[int, int]:
        header = headers[separator]
        return sum(bool(_places(header, name)) for name in needed), len(header)

    return max(headers, key=n_columns), text


def _table(
    path: Path,
    rows: list[Record],
    wanted: dict[str, str],
    needed: list[str],
    remedy: str,
    separated_by: str,
) -> RatingsTable:
    """Take the wanted columns out of the rows, the first of which is the header."""
    line, header = rows[0] if rows else (1, [])
    places = {name: _places(header, there) for name, there in wanted.items()}
    found = [name.strip() for name in header]
    if not all(_places(header, name) for name in needed):
        if len(header) == 1:
            remedy = f"Separate the cells by commas, semicolons or tabs. {remedy}"
        raise ValueError(
            f"{path}, line {line}: expected the columns {', '.join(needed)}, "
            f"got {', '.join(found) or 'an empty file'}. {remedy}"
        )
    for name, these in places.items():
        if len(these) > 1:
            raise ValueError(
                f"{path}, line {line}: expected one column {wanted[name]}, got "
                f"{', '.join(found[i] for i in these)}. Rename or remove the others."
            )
    for row_line, row in rows[1:]:
        if len(row) > len(header):
            raise ValueError(
                f"{path}, line {row_line}: expected {len(header)} cells as in the header, "
                f"separated by {separated_by}, got {len(row)}. Put a cell that holds the "
                'separator in quotes, for example "3,5", or separate the cells by semicolons.'
            )
    return RatingsTable(
        path=path,
        headers={name: found[these[0]] for name, these in places.items() if these},
        # A row may end early: what it lacks is empty.
        cells={
            name: [row[these[0]] if these[0] < len(row) else "" for _, row in rows[1:]]
            for name, these in places.items()
            if these
        },
        lines=[row_line for row_line, _ in rows[1:]],
    )


def _records(path: Path, text: str, separator: str) -> Iterator[Record]:
    """Yield the rows that are not empty."""
    # Without translation, each of \n, \r\n and \r ends a line, and quoted ones stay as they are.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: expected quotes around whole cells, got: {error}. End the "
                "quotes right before the separator, and double those inside a cell."
            ) from error
        if any(cell.strip() for cell in cells):
            yield line, cells


def _places(header: list[str], name: str) -> list[int]:
    """Return where a column is: by its exact name, else in any letter case."""
    plain = [cell.strip() for cell in header]
    exact = [i for i, cell in enumerate(plain) if cell == name]
    return exact or [i for i, cell in enumerate(plain) if cell.casefold() == name.casefold()]
