"""Opening a runtime: what cannot be opened is said at load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from iqa.network.runtime import open_runtime

DROPPED_ELSEWHERE = """
import faulthandler, os, signal, sys, threading
from pathlib import Path
import numpy, openvino
from openvino import opset13 as ops
from iqa.network.runtime import OpenVINORuntime

faulthandler.enable()  # as pytest does: handlers run on a signal stack
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
pixels = ops.parameter([1, 4, 4, 3], numpy.uint8)
axes = ops.constant(numpy.array([1, 2, 3]))
quality = ops.reduce_mean(ops.convert(pixels, "f32"), axes, False)
openvino.save_model(openvino.Model([quality], [pixels]), sys.argv[1])
runtimes = [OpenVINORuntime(Path(sys.argv[1]), threads=1)]
assert runtimes[0].outputs(numpy.full((1, 4, 4, 3), 7, numpy.uint8)) == [7.0]
thread = threading.Thread(target=runtimes.clear)  # as the garbage collector may
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


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


def test_torch_on_an_archive_of_lower_precision_says_what_to_do(tmp_path: Path) -> None:
    """A bf16 archive holds the graph alone; the worker's log names both ways out."""
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "provenance.json").write_text('{"precision": "bf16"}')
    with pytest.raises(FileNotFoundError, match=r"a bf16 archive.*--precision f32"):
        open_runtime(tmp_path, "torch")


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    """A provenance from a later version of the project does not become float32 silently."""
    (tmp_path / "provenance.json").write_text('{"precision": "fp8"}')
    with pytest.raises(ValueError, match="precision: expected one of f32, bf16, int8, got 'fp8'"):
        open_runtime(tmp_path, "openvino")


def test_a_signal_is_survived_after_a_runtime_ended_in_another_thread(tmp_path: Path) -> None:
    """OpenVINO frees the first thread's signal stack with its core: the core must outlive all."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED_ELSEWHERE, str(tmp_path / "model.xml")],
        env={**os.environ, "PYTHONPATH": "handler"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
