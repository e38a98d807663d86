"""The network's outputs for a split's whole images, with torch or the graph that is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from iqa.network.model import ImageNetwork
from iqa.network.runtime import Runtime
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.compute.device import keep_freed_memory
from training.data.images import WholeImages, leave_interrupts_to_parent, same_size_batches
from training.data.ratings import Split

BATCH_SIZE: Final = 16
"""Of photographs: more are no faster on a CPU."""


def predict(
    predictor: Callable[[Tensor], Tensor],
    split: Split,
    *,
    batch_size: int = BATCH_SIZE,
    workers: int = 0,
    title: str = "predict",
) -> NDArray[np.float64]:
    """
    Predict every image of a split, whole, through the serving preprocessing.

    Args:
        predictor: Takes uint8 (N, H, W, C), returns (N,), or (N, n_outputs).
        split: The images to predict.
        batch_size: Images of one size in one forward pass.
        workers: Processes that decode.
        title: Title of the progress bar.

    Returns:
        float64, shape (len(split),) or (len(split), n_outputs), in the split's order.
    """
    outputs = np.full(len(split), np.nan)
    loader = DataLoader(
        WholeImages(split),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=same_size_batches,
        worker_init_fn=leave_interrupts_to_parent,
        generator=torch.Generator(),  # the global one belongs to training
    )
    with tqdm(total=len(split), desc=title, unit="image", leave=False) as bar:
        for batches in loader:
            for indices, pixels_NHWC in batches:
                of_batch = predictor(pixels_NHWC).double().cpu().numpy()
                if of_batch.shape[1:] != outputs.shape[1:]:  # the first tells how many there are
                    outputs = np.full((len(split), *of_batch.shape[1:]), np.nan)
                outputs[indices] = of_batch
                bar.update(len(indices))
    return outputs


def torch_predictor(network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """
    Return the network as a predictor: evaluation mode, no gradients, float32.

    Args:
        network: As `predict` wants it.
        device: Where it is.
    """
    keep_freed_memory(device)
    # As in training: MobileNetV2 in two thirds of the time. Only the order in memory changes, which
    # a user's own network may not bear, such as one that ends in `view`.
    if isinstance(network, ImageNetwork):
        # torch's stubs lack the argument.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict_batch(pixels_NHWC: Tensor) -> Tensor:
        network.eval()
        with torch.inference_mode():
            outputs: Tensor = network(pixels_NHWC.to(device, non_blocking=True))
            return outputs

    return predict_batch


def with_mirror_image(predictor: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a predictor that takes the mean of an image and its mirror image: two passes."""

    def predict_both(pixels_NHWC: Tensor) -> Tensor:
        return (predictor(pixels_NHWC) + predictor(pixels_NHWC.flip(2))) / 2

    return predict_both


def graph_predictor(runtime: Runtime) -> Callable[[Tensor], Tensor]:
    """Return a runtime as a predictor."""

    def predict_batch(pixels_NHWC: Tensor) -> Tensor:
        return torch.from_numpy(runtime.outputs(pixels_NHWC.numpy()).copy())

    return predict_batch
