"""
What runs the network: OpenVINO on the CPU, torch on CUDA and as the reference everywhere.

Both take the same pixels and give the same outputs. How close a graph of lower precision comes
is measured before it is packed (`training.graph.precision`) and stands in the archive's provenance.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from iqa.errors import ImageRejected
from iqa.network.intermediate_features import n_maps, tapped, tapped_graph
from iqa.network.logit_map import LogitMap, MappedGraph, among_classes
from iqa.network.names import is_own
from iqa.network.openvino_core import core
from iqa.tasks.task import CARD_FILE
from numpy.typing import NDArray

GRAPH_FILE: Final = "model.onnx"
QUANTISED_GRAPH_FILE: Final = "model.xml"  # NNCF's output has no ONNX form; weights in model.bin
PROVENANCE_FILE: Final = "provenance.json"
RUNTIMES: Final = ("auto", "openvino", "torch")
PRECISIONS: Final = ("f32", "bf16", "int8")


class Runtime(Protocol):
    """
    One loaded network.

    Attributes:
        name: openvino or torch.
        precision: What it computes in on this machine: f32, bf16 or int8.
        stacks_up_to_px: Largest area of an image, in pixels, of which two together take less than
            one after the other.
        n_means: How many of the features are means: the first ones; 0 without `backbone`.
    """

    name: str
    precision: str
    stacks_up_to_px: int
    n_means: int

    def outputs(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Judge a batch of equally large images.

        Args:
            pixels_NHWC: uint8, shape (N, H, W, C): `preprocess`'s output, stacked.

        Returns:
            float32, in [0, 1], shape (N,) where the head has one output, else (N, n_outputs).
        """

    def outputs_and_features(
        self, pixels_NHWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Judge a batch, and return what the network saw on the way: `intermediate_features.py`.

        Args:
            pixels_NHWC: As for `outputs`.

        Returns:
            The outputs, and float32 of shape (N, n_features).

        Raises:
            ValueError: The runtime was opened without `backbone`.
        """

    def logit_map(self, pixels_HWC: NDArray[np.uint8], output: int | None = None) -> LogitMap:
        """
        Judge one image and say where an output comes from.

        Args:
            pixels_HWC: uint8, shape (H, W, C): `preprocess`'s output.
            output: Number of the output; None is the greatest one.

        Raises:
            ImageRejected: The network has no such map (404).
        """


def open_runtime(
    directory: Path, name: str = "auto", threads: int = 1, backbone: str | None = None
) -> Runtime:
    """
    Load the network that lies in a directory.

    Args:
        directory: An unpacked archive: the graph, its precision in `provenance.json` (f32 where
            there is none), and for torch the checkpoint.
        name: One of `RUNTIMES`; auto is torch where a GPU is visible and the directory holds the
            checkpoint of a network of `iqa`, else OpenVINO.
        threads: CPU threads per call.
        backbone: Of the network, where its features are wanted as well: a key of `TAPS`.

    Raises:
        FileNotFoundError: The runtime's files are not in the directory.
        ValueError: An unknown name, or a runtime that is not installed. Said at load, so that
            the first request does not find out.
    """
    if name == "auto":
        name = "torch" if _torch_can_run(directory) and _cuda_is_available() else "openvino"
    if name == "openvino":
        precision = _packed_precision(directory)
        graph = QUANTISED_GRAPH_FILE if precision == "int8" else GRAPH_FILE
        return OpenVINORuntime(directory / graph, threads, precision, backbone)
    if name == "torch":
        return TorchRuntime(directory, threads, backbone)
    raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {name!r}.")


class OpenVINORuntime:
    """
    The exported graph in OpenVINO, one stream.

    Args:
        graph: Input uint8 (N, H, W, C), output float32, see `Runtime.outputs`.
        threads: CPU threads of this process.
        precision: One of `PRECISIONS`. bf16 becomes f32 where the CPU has no bf16.
        backbone: Of the network, where its features are wanted as well.
    """

    name = "openvino"
    # With one thread a stack of four large images takes a tenth more time than four alone: its
    # tensors leave the caches. Of 28 x 28 it takes a fifth less: what a call costs is shared.
    stacks_up_to_px = 64 * 64

    def __init__(
        self, graph: Path, threads: int, precision: str = "f32", backbone: str | None = None
    ) -> None:
        try:
            openvino_core = core()
        except ImportError as error:
            raise ValueError(
                f"runtime openvino: expected the package, got {error}. "
                "Install torchserve/requirements.txt, or set runtime: torch."
            ) from error
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}."
            )
        if precision == "bf16" and not has_bf16():
            precision = "f32"  # the emulation is slower than f32 itself
        self.precision = precision
        self._graph = graph
        self._mapped: MappedGraph | ImageRejected | None = None
        self._properties: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Two processes would pin themselves to the same core.
            "ENABLE_CPU_PINNING": False,
            # The default is bf16 where the CPU has it, for a graph that was not made for it: with
            # the shipped model 4 points off at the 99th percentile. What int8 leaves in float
            # stays f32.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        model, self.n_means = (graph, 0) if backbone is None else tapped_graph(graph, backbone)
        self._request = openvino_core.compile_model(
            model, "CPU", self._properties
        ).create_infer_request()

    def outputs(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime`."""
        outputs = self._request.infer([pixels_NHWC], share_inputs=True)
        result: NDArray[np.float32] = outputs[0]
        return result

    def outputs_and_features(
        self, pixels_NHWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Runtime`."""
        if not self.n_means:
            raise _no_features()
        outputs = self._request.infer([pixels_NHWC], share_inputs=True)
        return outputs[0], outputs[1]

    def logit_map(self, pixels_HWC: NDArray[np.uint8], output: int | None = None) -> LogitMap:
        """See `Runtime`."""
        # A graph of its own, and only once it is asked for: a second output would cost every
        # prediction.
        if self._mapped is None:
            try:
                self._mapped = MappedGraph(self._graph, self._properties)
            except ImageRejected as error:
                self._mapped = error  # of the graph, and so of every picture
        if isinstance(self._mapped, ImageRejected):
            raise self._mapped.with_traceback(None)  # else each request would add its own to it
        return self._mapped(pixels_HWC, output)


class TorchRuntime:
    """
    The network itself, from the checkpoint, in float32; on the GPU where there is one.

    Args:
        directory: The checkpoint's.
        threads: CPU threads of this process.
        backbone: Of the network, where its features are wanted as well.
    """

    name = "torch"
    precision = "f32"

    def __init__(self, directory: Path, threads: int, backbone: str | None = None) -> None:
        import torch
        from iqa.network import checkpoint
        from iqa.network.model import ImageNetwork

        if not (directory / checkpoint.WEIGHTS_FILE).exists() and (directory / GRAPH_FILE).exists():
            raise FileNotFoundError(
                f"{directory}: expected {checkpoint.WEIGHTS_FILE} for runtime torch, got a "
                f"{_packed_precision(directory)} archive, which holds the graph alone. "
                "Build with --precision f32, or set runtime: openvino."
            )
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # the default rounds to 10 bits of mantissa
        self._device = "cuda" if _cuda_is_available() else "cpu"
        self._network = checkpoint.load(directory)[0].to(self._device)
        self._backbone, self.n_means = backbone, 0
        if backbone is not None:
            assert isinstance(self._network, ImageNetwork)  # others have no taps
            self.n_means = sum(n_maps(self._network.features, backbone))
        self.stacks_up_to_px = sys.maxsize if self._device == "cuda" else 0

    def outputs(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime`."""
        import torch

        with torch.inference_mode():
            # A copy: Pillow's arrays are read-only, which torch cannot express.
            pixels = torch.from_numpy(np.array(pixels_NHWC)).to(self._device)
            result: NDArray[np.float32] = self._network(pixels).cpu().numpy()
        return result

    def outputs_and_features(
        self, pixels_NHWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Runtime`."""
        from iqa.network.model import ImageNetwork

        if self._backbone is None:
            raise _no_features()
        assert isinstance(self._network, ImageNetwork)  # others have no taps
        with tapped(self._network.features, self._backbone) as features:
            outputs = self.outputs(pixels_NHWC)
        return outputs, features().cpu().numpy()

    def logit_map(self, pixels_HWC: NDArray[np.uint8], output: int | None = None) -> LogitMap:
        """See `Runtime`."""
        import torch
        from iqa.network.model import activated

        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(pixels_HWC)).to(self._device)
            logits_KHW = self._network.logit_map(pixels[None])[0].double()
        end = self._network.ends_in
        means = logits_KHW.mean(dim=(1, 2))
        outputs = activated(means[None], end)[0].squeeze(0).float().cpu().numpy()
        chosen = int(outputs.argmax()) if output is None else output
        logits = logits_KHW.cpu().numpy()
        if end.activation == "softmax":
            logits = among_classes(logits)
        return LogitMap(outputs=outputs, logits=logits[chosen], output=chosen)


def has_bf16() -> bool:
    """Tell whether this CPU computes in bfloat16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _no_features() -> ValueError:
    return ValueError(
        "features: expected a runtime that was opened with backbone, got one without."
    )


def _packed_precision(directory: Path) -> str:
    try:
        provenance = json.loads((directory / PROVENANCE_FILE).read_text())
    except FileNotFoundError:
        return "f32"  # a folder of training, not an archive
    return str(provenance.get("precision", "f32"))


def _torch_can_run(directory: Path) -> bool:
    """Tell whether the weights are there, and of a network whose code is here."""
    if not (directory / "model.safetensors").exists():
        return False
    try:
        card = json.loads((directory / CARD_FILE).read_text())
    except FileNotFoundError:
        return True
    return not is_own(card.get("architecture", {}).get("backbone", ""))


def _cuda_is_available() -> bool:
    # Asking torch costs seconds of import: only where a driver is present at all.
    if not os.path.exists("/proc/driver/nvidia/version"):
        return False
    try:
        import torch
    except ImportError:  # an image for machines without a GPU has none
        return False
    return torch.cuda.is_available()
