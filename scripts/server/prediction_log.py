"""The prediction log of a running server: where it is, and whether it is written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import psutil

from scripts.server.http_client import samples
from scripts.server.state import Server

VARIABLE: Final = "PREDICTION_LOG"
ROWS: Final = "iqa_prediction_log_rows_total"
ERRNO: Final = "iqa_prediction_log_errno"


def prepared(folder: Path) -> Path:
    """
    Make the folder of a log, if there is none, for its owner alone; return its absolute path.

    Raises:
        ValueError: It cannot be written.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"--prediction-log: expected a folder that can be written, got {folder}: "
            f"{error.strerror}. Choose another one, or leave the option out."
        ) from error
    return folder


def folder_of(server: Server) -> str | None:
    """Return where a running server logs its answers; None where it does not."""
    process = server.process()
    try:
        return (process.environ().get(VARIABLE) or None) if process is not None else None
    except psutil.Error:
        return None


def state_of(server: Server) -> str | None:
    """
    Return a line on the log of a running server; None where it has none.

    Raises:
        NotNow: TorchServe does not answer.
    """
    folder = folder_of(server)
    if folder is None:
        return None
    working = {
        (str(entry["modelName"]), str(entry["modelVersion"]), str(worker["id"]))
        for entry in server.entries()
        for worker in entry["workers"]
    }
    # The page still holds the last word of workers that are gone.
    told = {
        key: int(value)
        for labels, value in samples(server.addresses, ERRNO)
        if (key := (labels["ModelName"], labels["ModelVersion"], labels["worker"])) in working
    }
    counts = {"written": 0, "dropped": 0}
    for labels, value in samples(server.addresses, ROWS):
        counts[labels["outcome"]] += int(value)
    stopped = [number for number in told.values() if number]
    where = f"prediction log: {os.path.relpath(folder)}"
    older = len(working) - len(told)
    if older:
        where += f": {older} of {len(working)} workers have an archive that knows none"
    if stopped:
        where += f": STOPPED in {len(stopped)} of {len(working)} workers: {os.strerror(stopped[0])}"
    return f"{where}; {counts['written']} rows written, {counts['dropped']} answers without a row"
