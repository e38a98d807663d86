"""
Packed as `torch.py`: stands in for torch in a worker until something of torch is used.

TorchServe's protocol module imports torch only to ask whether a reply is a tensor. With OpenVINO
no reply ever is, and the import costs each worker 2 s of start and 300 MB. The archive comes first
on a worker's path, so this file answers to the name; whoever needs more of torch than `Tensor`
gets the real package, which then takes the name over.
Reason and figures: docs/decisions/0010-a-stand-in-for-torch.md.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_SELF = sys.modules[__name__]


class Tensor:
    """What no object is an instance of."""


def __getattr__(name: str) -> Any:
    """Load the real torch on the first use of anything but `Tensor`."""
    if name in ("__file__", "__spec__", "__loader__", "__package__", "__wrapped__"):
        raise AttributeError(name)
    if sys.modules.get(__name__) is _SELF:
        _hand_over()
    return getattr(sys.modules["torch"], name)


def _hand_over() -> None:
    path = sys.path[:]
    del sys.modules["torch"]
    sys.path[:] = [entry for entry in path if Path(entry or ".").resolve() != _HERE]
    try:
        importlib.invalidate_caches()
        importlib.import_module("torch")
    except BaseException:
        sys.modules["torch"] = _SELF
        raise
    finally:
        sys.path[:] = path
