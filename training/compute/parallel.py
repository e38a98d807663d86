"""
One run in several processes, a GPU each: `torchrun --nproc-per-node 2 -m training.train ...`.

There is no second way through training. Each process takes its share of every batch and of the
validation images, and the loss is that of the whole batch; one process's share is all of it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


@dataclass(frozen=True)
class ProcessGroup:
    """
    The processes that train one network together.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Tell whether this is the one that reports, saves and registers."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part: every `size`-th."""
        return items[self.rank :: self.size]

    def data_parallel(self, network: nn.Module) -> nn.Module:
        """Return the network whose gradients are the mean over all processes."""
        return network if self.size == 1 else DistributedDataParallel(network)

    def all_gather(self, part: Tensor) -> Tensor:
        """
        Return the parts of all processes after another; all must have the same shape.

        A gradient goes back only to a process's own part, times `size`: `data_parallel` takes the
        mean over the processes, and what comes out is the gradient of the whole.
        """
        if self.size == 1:
            return part
        # torch's own all_gather with gradients is deprecated, its successor not public.
        parts = [torch.empty_like(part) for _ in range(self.size)]
        distributed.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part + (self.size - 1) * (part - part.detach())
        return torch.cat(parts)

    def gather_shares(self, part: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """Return an array of n rows from its `share`s."""
        if self.size == 1:
            return part
        parts: list[NDArray[np.float64]] = [part] * self.size
        distributed.all_gather_object(parts, part)
        whole = np.empty((n, *parts[0].shape[1:]))
        for rank, one in enumerate(parts):
            whole[rank :: self.size] = one
        return whole

    def share_buffers(self, network: nn.Module) -> None:
        """Give each process the first one's buffers: batch norms count their own images alone."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)

    def any(self, flag: bool) -> bool:
        """Tell whether a condition holds in any of the processes."""
        if self.size == 1:
            return flag
        flags = [flag] * self.size
        distributed.all_gather_object(flags, flag)
        return any(flags)

    def expect_divides(self, name: str, number: int) -> None:
        """
        Check that each process can have the same share.

        Raises:
            ValueError: It cannot.
        """
        if number % self.size:
            raise ValueError(
                f"{name}: expected a multiple of the {self.size} processes, got {number}."
            )


ONE_PROCESS: Final = ProcessGroup()


def local_rank() -> int | None:
    """Return the number of this process on its machine; None where it was not torchrun's."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


@contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """
    Join the processes that torchrun started; without it, there is one.

    Args:
        device: Where this process computes: GPUs talk by NCCL, CPUs by Gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ONE_PROCESS
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        joined = ProcessGroup(distributed.get_rank(), distributed.get_world_size())
        if not joined.is_first:
            logging.getLogger("training").setLevel(logging.ERROR)
        yield joined
    finally:
        distributed.destroy_process_group()


def expect_one_process(command: str) -> None:
    """
    Check that torchrun did not start several processes of a command that is one.

    Raises:
        ValueError: It did.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            f"torchrun: expected training.train, got {command}, which runs in one process."
        )
