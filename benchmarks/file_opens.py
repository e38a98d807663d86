"""Which files of a folder are opened, and how often: told by the kernel (inotify), Linux only."""

from __future__ import annotations

import collections
import ctypes
import os
import struct
import threading
from pathlib import Path
from typing import Final

IN_OPEN: Final = 0x20
IN_ISDIR: Final = 0x40000000
IN_Q_OVERFLOW: Final = 0x4000
EVENT: Final = struct.Struct("iIII")
"""Watch, mask, cookie, length of the name that follows; sys/inotify.h."""


class Opened:
    """
    Counts while it is entered; links have to be hard ones, for a soft one opens another folder's.

    Args:
        folder: Its own files, not those below.

    Attributes:
        counts: {file name: how often it was opened}; complete after the end.
    """

    def __init__(self, folder: Path) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._folder = folder
        self._is_complete = True

    def __enter__(self) -> Opened:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_CLOEXEC)
        if library.inotify_add_watch(self._descriptor, os.fsencode(self._folder), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._end = self._folder / f".end-{os.getpid()}"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.touch()  # events come in order: when this one is read, all are
        self._reader.join()
        self._end.unlink()
        os.close(self._descriptor)
        if not self._is_complete:
            raise RuntimeError("inotify: expected every event, got an overflow of its queue.")

    def _read(self) -> None:
        while True:
            content = os.read(self._descriptor, 1 << 16)
            while content:
                _, mask, _, length = EVENT.unpack_from(content)
                name = content[EVENT.size : EVENT.size + length].rstrip(b"\0").decode()
                content = content[EVENT.size + length :]
                if name == self._end.name:
                    return
                if mask & IN_Q_OVERFLOW:
                    self._is_complete = False
                elif not mask & IN_ISDIR:
                    self.counts[name] += 1
