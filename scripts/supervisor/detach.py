"""Continue in the background: the caller gets the first output and an exit status, then returns."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Behind:
    """The background process, as long as its caller waits for it."""

    def __init__(self, caller: int) -> None:
        self._caller = caller

    def let_go(self, log: Path) -> None:
        """Let the caller return with 0; from here on output goes to a file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        with log.open("a") as file, open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())
            os.dup2(file.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())
        for handler in logging.getLogger().handlers:  # a file has no reader who sees the time
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        with contextlib.suppress(BrokenPipeError):  # the caller was killed: nobody waits
            os.write(self._caller, b"1")
        os.close(self._caller)


def go_behind() -> tuple[int, Behind | None]:
    """
    Fork; for a process that has no threads yet.

    Returns:
        In the process behind, a session of its own: (0, `Behind`). In the caller, once that one
        lets go or has ended: (exit status, None); signals were handed on meanwhile.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setsid()
        return 0, Behind(writer)
    os.close(writer)

    def hand_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    for number in SIGNALS:
        signal.signal(number, hand_on)
    has_let_go = os.read(reader, 1)
    if has_let_go:
        return 0, None
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), None
