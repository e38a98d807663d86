"""
What runs the network: OpenVINO on the CPU, torch on CUDA and as the reference everywhere.

Both take the same pixels and give the same quality; tests hold them to 0.01 of a point.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

GRAPH_FILE: Final = "model.onnx"
RUNTIMES: Final = ("auto", "openvino", "torch")


class Runtime(Protocol):
    """One loaded network."""

    name: str

    def quality(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Judge a batch of equally large pictures.

        Args:
            pixels_NHWC: uint8, shape (N, H, W, 3), RGB: `preprocess`'s output, stacked.

        Returns:
            float32, shape (N,), in [0, 1].
        """


def open_runtime(directory: Path, name: str = "auto", threads: int = 1) -> Runtime:
    """
    Load the network that lies in a directory.

    Args:
        directory: Holds `model.onnx`, and for torch the checkpoint.
        name: One of `RUNTIMES`; auto is torch where a GPU is visible, else OpenVINO.
        threads: CPU threads per call.

    Raises:
        ValueError: An unknown name, or a runtime that is not installed. Said at load, so that
            the first request does not find out.
    """
    if name == "auto":
        name = "torch" if _cuda_is_available() else "openvino"
    if name == "openvino":
        return OpenVINORuntime(directory / GRAPH_FILE, threads)
    if name == "torch":
        return TorchRuntime(directory, threads)
    raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {name!r}.")


class OpenVINORuntime:
    """
    The exported graph in OpenVINO, float32, one stream.

    Args:
        graph: ONNX with input uint8 (N, H, W, 3) and output float32 (N,).
        threads: CPU threads of this process.
    """

    name = "openvino"

    def __init__(self, graph: Path, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ValueError(
                f"runtime openvino: expected the package, got {error}. "
                "Install torchserve/requirements.txt, or set runtime: torch."
            ) from error
        properties = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Two processes would pin themselves to the same core.
            "ENABLE_CPU_PINNING": False,
            # The default is bf16 where the CPU has it: faster, but not the trained network.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._network = openvino.Core().compile_model(graph, "CPU", properties)

    def quality(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime`."""
        result: NDArray[np.float32] = self._network(pixels_NHWC)[0]
        return result


class TorchRuntime:
    """
    The network itself, from the checkpoint; on the GPU where there is one.

    Args:
        directory: The checkpoint's.
        threads: CPU threads of this process.
    """

    name = "torch"

    def __init__(self, directory: Path, threads: int) -> None:
        import torch
        from iqa import checkpoint

        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # the default rounds to 10 bits of mantissa
        self._device = "cuda" if _cuda_is_available() else "cpu"
        self._network = checkpoint.load(directory)[0].to(self._device)

    def quality(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime`."""
        import torch

        with torch.inference_mode():
            # A copy: Pillow's arrays are read-only, which torch cannot express.
            pixels = torch.from_numpy(np.array(pixels_NHWC)).to(self._device)
            result: NDArray[np.float32] = self._network(pixels).cpu().numpy()
        return result


def _cuda_is_available() -> bool:
    # Asking torch costs seconds of import: only where a driver is present at all.
    if not os.path.exists("/proc/driver/nvidia/version"):
        return False
    import torch

    return torch.cuda.is_available()
