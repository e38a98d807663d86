"""A clock that can be stepped without touching the machine's, by a preloaded library of our own."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_suffix(".c").with_stem("clock_step")


def why_not() -> str | None:
    """Return why there is no such clock here; None if there is."""
    return None if shutil.which("cc") else "cc is not installed"


class Clock:
    """
    The time of day of all processes that were started with `environment`.

    Args:
        folder: For the library, and the file that holds the step.

    Raises:
        RuntimeError: The library cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._library, self._file = folder / "clock_step.so", folder / "step"
        self._file.write_bytes(struct.pack("=q", 0))
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{SOURCE.name}: expected it to compile, got: {done.stderr}")

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to follow it."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_STEP_FILE": str(self._file)}

    def step(self, seconds: int) -> None:
        """Let it be ahead of the machine's by so much; at once, however it stood before."""
        with self._file.open("r+b") as file:  # the same file: it is mapped
            file.write(struct.pack("=q", seconds))
