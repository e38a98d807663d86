"""The batches of an epoch, decoded in other processes while the network trains."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.compute.device import choose_device
from training.compute.parallel import ONE_PROCESS, ProcessGroup
from training.data.images import EpochBatches, leave_interrupts_to_parent
from training.data.ratings import Split
from training.loop.config import TrainConfig
from training.tasks.task import TrainingTask


def training_loader(
    config: TrainConfig,
    task: TrainingTask,
    split: Split,
    epoch: int,
    first_step: int = 0,
    processes: ProcessGroup = ONE_PROCESS,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """
    Return what delivers an epoch, damaged copies included.

    Args:
        config: Settings of the run.
        task: Says how an image is seen.
        split: To train on.
        epoch: From 0; the same epoch gives the same batches.
        first_step: Where to begin; the length is that of the whole epoch.
        processes: This one gets its share of each batch.
    """
    batches = EpochBatches(
        len(split), config.batch_size, config.seed, config.damaged_pairs, processes
    )
    images = task.training_images(split, config)
    batches.epoch = images.epoch = epoch
    batches.first_step = first_step
    return DataLoader(
        cast(Dataset[tuple[Tensor, Tensor]], images),
        batch_sampler=batches,
        num_workers=config.workers,
        pin_memory=choose_device(config.device).type == "cuda",
        worker_init_fn=leave_interrupts_to_parent,
        generator=torch.Generator(),  # its own: the global one belongs to dropout, and to --resume
    )
