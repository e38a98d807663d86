"""What TorchServe's logs say of a failure: of a worker's load, of an end."""

from __future__ import annotations

import json
from pathlib import Path


def load_failure(model_log: Path, from_byte: int = 0, thread: str | None = None) -> str | None:
    """
    Return the last line of the first Python traceback that a worker printed, or None.

    Args:
        model_log: The log of all workers.
        from_byte: Where to begin.
        thread: Only of these workers, as model_version; None: of all.
    """
    try:
        lines = model_log.read_bytes()[from_byte:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    if thread is not None:  # TorchServe's thread: W-<number>-<model>_<version>-stdout
        lines = [line for line in lines if f"-{thread}-" in line]
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    for line in lines[starts[0] + 1 :] if starts else []:
        text = _message(line)
        if text and not text.startswith((" ", "Traceback")):  # the frames are indented
            return text
    return None


def last_words(log: Path) -> str:
    """Return the last error of a log, else its last line."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if "ERROR" in line or "Exception" in line]
    return _message((errors or said or ["it left no word"])[-1])


def _message(line: str) -> str:
    """Return what a line of a log says: the JSON of torchserve/log4j2.xml, or text after a dash."""
    try:
        return str(json.loads(line)["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return line.split(" - ", 1)[-1]
