"""The one OpenVINO core of a process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openvino import Core


@functools.cache
def core() -> Core:
    """
    Return OpenVINO's core, the same one until the process ends.

    Its CPU plugin (seen with 2026.4) gives the thread that first uses it a stack for signal
    handlers, and frees that stack wherever the core is destroyed. Destroyed in another thread, as
    the garbage collector may, it leaves the first one without: the next signal, such as a child's
    end or a TERM, then kills the process with a segmentation fault. One that is never destroyed
    cannot.
    """
    import openvino

    return openvino.Core()
