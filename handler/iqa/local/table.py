"""
A model over a table: what `mlflow.pyfunc` and `mlflow models serve` call.

MLflow finds this module in the code that a logged model brings (`training.registry.flavor`). It
imports neither MLflow nor pandas: the answer is a table of the class that came in.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any, Final

from iqa.errors import ImageRejected
from iqa.local.files import unreadable
from iqa.local.model import Model, load

COLUMN: Final = "image"
CHECKPOINT: Final = "checkpoint"
GRAPH: Final = "graph"
"""Folders of a logged model."""
MAX_PATH: Final = 4096
EXPECTED: Final = "expected the bytes of an image file, their base64, or a path"


class TableModel:
    """
    Answers a table of pictures with a table of replies.

    Args:
        directory: Of the logged model: its checkpoint, and where one was stored its graph.
    """

    def __init__(self, directory: Path) -> None:
        graph = directory / GRAPH
        if graph.is_dir():
            self._model: Model = Model(graph, card=directory / CHECKPOINT / "model.json")
        else:
            self._model = load(directory / CHECKPOINT)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse: what a network is is in its files."""
        raise TypeError("model: expected to be loaded from its folder, not pickled.")

    def predict(self, table: Any, params: dict[str, Any] | None = None) -> Any:
        """
        Score each row.

        Args:
            table: With a column `image`: bytes, base64 or paths; a pandas.DataFrame, or a dict
                with that key, or a list.
            params: Not used; MLflow hands it over.

        Returns:
            A table of the same class and index; of a dict or a list, a list of dicts. Columns as
            in a served reply, `score`, `label`, `interval`, `warnings`; `reason` and `message` say
            why a row has no score (NaN), and touch no other row.

        Raises:
            ValueError: There is no such column.
        """
        values = _column(table)
        rows = [self._row(value) for value in values]
        if isinstance(table, dict | list):
            return rows
        columns = list(dict.fromkeys(key for row in rows for key in row))
        return type(table)(rows, index=table.index, columns=columns)

    def _row(self, value: Any) -> dict[str, Any]:
        try:
            return self._told(self._model.predict(_picture(value)))
        except ImageRejected as error:
            refusal = error.body()
        except OSError as error:
            refusal = unreadable(error)
        told = {key: refusal[key] for key in ("reason", "message")}
        return self._told({**told, "warnings": []})

    def _told(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Return a row with the same columns, whatever became of the picture."""
        told = {key: value for key, value in reply.items() if key not in ("model", "image")}
        if self._model.task == "quality":
            empty = {"score": float("nan"), "label": None, "interval": None}
            told = {**empty, **told}
        return {"reason": None, "message": None, **told}


def _load_pyfunc(path: str) -> TableModel:
    """Open a logged model; called by `mlflow.pyfunc.load_model`."""
    return TableModel(Path(path))


def _column(table: Any) -> list[Any]:
    if isinstance(table, list):
        return [row[COLUMN] if isinstance(row, dict) else row for row in table]
    if COLUMN not in table:
        raise ValueError(f"input: expected a column {COLUMN!r}, got {', '.join(map(str, table))}.")
    values = table[COLUMN]
    return [values] if isinstance(values, str | bytes) else list(values)


def _picture(value: Any) -> bytes:
    """
    Return the bytes of a picture.

    Raises:
        ImageRejected: There are none (400).
        OSError: It is a path that cannot be read.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise ImageRejected(
            "undecodable", f"image: {EXPECTED}, got {type(value).__name__}. Send one of them."
        )
    is_short = len(value) <= MAX_PATH and "\0" not in value
    # Not all that exists: a device or a pipe may have no end. A folder's error says what it is.
    if is_short and (os.path.isfile(value) or os.path.isdir(value)):
        return Path(value).read_bytes()
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        shown = value if len(value) < 80 else f"{value[:77]}..."
        raise ImageRejected(
            "undecodable", f"image: {EXPECTED}, got {shown!a}. Is the file there?"
        ) from error
