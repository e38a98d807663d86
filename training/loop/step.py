"""One step of training in its three parts: forward, backward, update."""

from __future__ import annotations

import torch
from iqa.network.model import Network
from torch import Tensor, nn

from training.compute.device import autocast, uses_bf16
from training.compute.parallel import ONE_PROCESS, ProcessGroup
from training.loop.config import TrainConfig
from training.loop.optimiser import average_of, optimizer_of
from training.tasks.task import Array, TrainingTask


class Step:
    """
    What a step changes: the network, its optimiser, its average.

    Args:
        config: Settings of the run.
        network: On its device, in training mode.
        task: Says what the loss is.
        processes: They share a step; the loss is that of the whole batch.
        target: Of all training images.

    Attributes:
        optimizer: At its highest rates; `training.loop.schedule` moves them.
        average: The moving average of the weights; None without one.
        is_bf16: Whether the forward pass computes in bf16.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: Network,
        task: TrainingTask,
        processes: ProcessGroup = ONE_PROCESS,
        target: Array | None = None,
    ) -> None:
        self._device = next(network.parameters()).device
        self._network = network
        self._data_parallel = processes.data_parallel(network)
        self._processes = processes
        self._clip_norm = config.clip_norm
        self._loss = task.loss(config) if target is None else task.loss_of(config, target)
        self.optimizer = optimizer_of(network, config)
        self.average = average_of(network, config.ema_decay)
        self.is_bf16 = uses_bf16(config.precision, self._device)

    def forward(self, pixels_NHWC: Tensor, target: Tensor) -> Tensor:
        """
        Return the loss of a batch, of which this process has its share: a scalar.

        Args:
            pixels_NHWC: uint8, (N, H, W, C): crops, then milder and heavier damaged copies in turn.
            target: float32, (N,), see `Split.target`; NaN for the copies.
        """
        with autocast(self._device, self.is_bf16):
            outputs = self._data_parallel(pixels_NHWC.to(self._device, non_blocking=True))
        outputs = self._processes.all_gather(outputs)
        target = self._processes.all_gather(target.to(self._device, non_blocking=True))
        return self._loss(outputs, target)

    def backward(self, loss: Tensor) -> None:
        """Take the gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)

    def update(self) -> None:
        """Move the weights, and their average."""
        nn.utils.clip_grad_norm_(
            [p for p in self._network.parameters() if p.requires_grad], self._clip_norm
        )
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self._network)
