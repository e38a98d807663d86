"""A disk of our own that can be filled without harm: a tmpfs, where this user may mount one."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CHUNK: Final = b"\0" * 65536
FILLER: Final = "filler"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[str | None]:
    """
    Mount a tmpfs over a folder while entered.

    Args:
        folder: Made where it is missing.
        megabytes: Its size.

    Yields:
        None, or why there is none; the folder can be used all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else None
    except FileNotFoundError:
        reason = "mount is not installed"
    try:
        yield None if reason is None else f"a tmpfs cannot be mounted here: {reason}"
    finally:
        if reason is None:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(disk: Path) -> int:
    """Take all the room that is left; return how many bytes that was."""
    taken = 0
    with (disk / FILLER).open("wb", buffering=0) as file:
        for chunk in (CHUNK, b"\0"):
            try:
                while True:
                    taken += file.write(chunk)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return taken


def free(disk: Path) -> None:
    """Give back what `fill` took."""
    (disk / FILLER).unlink(missing_ok=True)
