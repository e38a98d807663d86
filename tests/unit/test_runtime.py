"""Opening a runtime: what cannot be opened is said at load."""

from __future__ import annotations

from pathlib import Path

import pytest
from iqa.runtime import open_runtime


@pytest.mark.parametrize("name", ["onnx", "", "OpenVINO", "cuda"])
def test_unknown_runtime_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    """A misspelt runtime does not fall back to another one."""
    expected = f"runtime: expected one of auto, openvino, torch, got '{name}'"
    with pytest.raises(ValueError, match=expected):
        open_runtime(tmp_path, name)


def test_torch_runtime_without_a_checkpoint_is_an_error_at_load(tmp_path: Path) -> None:
    """An empty folder is named when the worker starts, and not by the first request."""
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        open_runtime(tmp_path, "torch")
