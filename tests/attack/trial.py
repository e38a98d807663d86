"""
One process that decodes changed files, under limits that the kernel keeps.

Too much memory is an exception, too much time or a crash in C ends the process; the file that did
it is then still in `current`, and the process that started this one finds it there.
"""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np
import PIL
from iqa.errors import ImageRejected
from iqa.imaging import decoding
from iqa.imaging.preprocessing import AREA_PX

from tests.attack.mutations import mutate
from tests.request_rows import picture_of

WATCHED: Final = (str(Path(decoding.__file__).parent), str(Path(PIL.__file__).parent))
# A loop over many parts shows its lines at once; the rest of it is only slow.
MAX_EVENTS: Final = 5000
REPORT_S: Final = 0.5
MAX_MESSAGE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """
    What one file may cost.

    Attributes:
        cpu_s: Seconds of processor time.
        memory_bytes: Of address space, beyond what the process has at its start.
    """

    cpu_s: float = 2.0
    memory_bytes: int = 2 * 1024**3


def judge(body: bytes) -> str | None:
    """Decode a file; return what is wrong with the outcome, or None."""
    try:
        decoded = decoding.decode(picture_of({"body": body}))
        pixels = decoded.pixels()
    except ImageRejected as error:
        words = str(error)
        is_told = ": expected " in words and len(words) <= MAX_MESSAGE and words.isprintable()
        return None if is_told else f"a message that does not help: {words[:MAX_MESSAGE]!r}"
    except BaseException:
        return traceback.format_exc()
    is_input = pixels.dtype == np.uint8 and pixels.shape[2:] == (3,) and pixels.size >= 3 * AREA_PX
    return None if is_input and decoded.image.mode == "RGB" else f"pixels {pixels.shape}"


class Lines:
    """Lines of Python, ours and Pillow's, that have ever run."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self._events = 0

    def judge(self, body: bytes) -> tuple[str | None, bool]:
        """Return `judge` of a file, and whether it ran a line that none before it did."""
        known, self._events = len(self.seen), 0
        sys.settrace(self._call)
        try:
            problem = judge(body)
        finally:
            sys.settrace(None)
        return problem, len(self.seen) > known

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(WATCHED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.seen.add((frame.f_code, frame.f_lineno))
        self._events += 1
        if self._events > MAX_EVENTS:
            sys.settrace(None)
        return self._line


def confine(bounds: Bounds) -> None:
    """Set the limits of this process; `start_clock` begins the time."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + bounds.memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, in the middle of C too


def start_clock(bounds: Bounds) -> None:
    """End this process unless it is asked again within the time allowed."""
    signal.setitimer(signal.ITIMER_PROF, bounds.cpu_s)


def run(
    told: Connection, seeds: list[bytes], corpus: Path, current: Path, indices: range, seed: int,
    bounds: Bounds,
) -> None:  # fmt: skip
    """
    Decode one changed file for each index, until the first that is wrong.

    Args:
        told: Takes (runs so far, lines seen), and at last a problem or None.
        seeds: Files to start from.
        corpus: Folder of files that ran new lines; new ones are written there.
        current: Where each file is written before it is decoded.
        indices: Of the runs; with `seed`, each decides what is changed.
        seed: Of the whole.
        bounds: For each file.
    """
    known = seeds + [path.read_bytes() for path in sorted(corpus.iterdir())]
    lines = Lines()
    confine(bounds)
    for body in known:
        current.write_bytes(body)
        start_clock(bounds)
        problem, _ = lines.judge(body)
        if problem:
            told.send((0, len(lines.seen), problem))
            return
    said_s = time.monotonic()
    for done, index in enumerate(indices, 1):
        rng = random.Random(f"{seed}:{index}")
        body = mutate(rng, rng.choice(known), known)
        current.write_bytes(body)
        start_clock(bounds)
        problem, is_new = lines.judge(body)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if is_new:
            known.append(body)
            (corpus / hashlib.sha256(body).hexdigest()[:16]).write_bytes(body)
        if problem or time.monotonic() - said_s > REPORT_S:
            told.send((done, len(lines.seen), problem))
            said_s = time.monotonic()
        if problem:
            return
    told.send((len(indices), len(lines.seen), None))
