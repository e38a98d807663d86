"""How the weights move: the optimiser's groups, a moving average."""

from __future__ import annotations

from typing import Any, Final

import torch
from iqa.network.model import Network
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.loop.config import TrainConfig

MOMENTUM: Final = 0.9


def optimizer_of(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """
    Return one with a rate for the head and one for the backbone; no decay on vectors.

    Where the head is not known, all has the backbone's rate.
    """
    last = network.last_layer
    head = set() if last is None else {id(parameter) for parameter in last.parameters()}
    groups: list[dict[str, Any]] = []
    for is_head in (False, True):
        lr = config.lr * (config.head_lr_factor if is_head else 1.0)
        for is_matrix in (False, True):
            chosen = [
                parameter
                for parameter in network.parameters()
                if (id(parameter) in head) == is_head
                and (parameter.ndim > 1) == is_matrix
                and parameter.requires_grad
            ]
            decay = config.weight_decay if is_matrix else 0.0
            if chosen:
                groups.append({"params": chosen, "lr": lr, "weight_decay": decay})
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[config.optimizer](groups)


def average_of(network: Network, decay: float) -> AveragedModel | None:
    """
    Return an exponential moving average of weights and batch norm statistics.

    Args:
        network: Averaged; the average begins as a copy of it after the first step.
        decay: The share that the average keeps at each step, in [0, 1); 0: none is kept.
    """
    if decay == 0:
        return None
    rule = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch's own lack
    return AveragedModel(network, multi_avg_fn=rule, use_buffers=True)


def evaluated_network(network: Network, average: AveragedModel | None) -> Network:
    """Return the network that is validated and kept: the average, where there is one."""
    if average is None:
        return network
    module = average.module
    assert isinstance(module, Network)
    return module
