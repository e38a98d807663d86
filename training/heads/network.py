"""Fit a small network on samples: a few thousand inputs, one hidden layer, some outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from iqa.network import checkpoint
from iqa.tasks.heads import HEADS_FILE, MAX_DEVIATIONS, SmallNetwork
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

Float = NDArray[np.float32]
Loss = Literal["huber", "logistic"]

BATCH_SIZE: Final = 128
RATE: Final = 1e-3
WEIGHT_DECAY: Final = 1e-2
INPUT_DROPOUT: Final = 0.2
INPUT_NOISE: Final = 0.1
"""In deviations: bfloat16, another decoder, another size of picture move the inputs that much."""
HIDDEN_DROPOUT: Final = 0.2
HUBER_POINTS: Final = 10.0
# A feature that is almost constant in training would be all that counts where it is not.
SMALLEST_SCALE: Final = 1e-3


def fit(
    inputs: Float,
    targets: Float,
    weights: Float,
    *,
    loss: Loss,
    hidden: int,
    epochs: int,
    seed: int = 0,
    title: str = "fit",
    is_seen: NDArray[np.bool_] | None = None,
) -> SmallNetwork:
    """
    Fit by AdamW with a rate that falls to zero.

    Args:
        inputs: Shape (N, D).
        targets: Shape (N, K); NaN where not known. Points for `huber`, 0 or 1 for `logistic`.
        weights: Shape (N,), of each sample.
        loss: Huber's on points, or the logistic one.
        hidden: Units.
        epochs: Passes over the samples.
        seed: Same samples and seed, same network.
        title: Of the progress bar.
        is_seen: Shape (D,), which inputs count; None: all. The others get a weight of 0.
    """
    mean = inputs.mean(axis=0)
    scale = np.maximum(inputs.std(axis=0), SMALLEST_SCALE).astype(np.float32)
    is_seen = np.ones(inputs.shape[1], bool) if is_seen is None else is_seen
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Dropout(INPUT_DROPOUT), nn.Linear(int(is_seen.sum()), hidden), nn.ReLU(),
            nn.Dropout(HIDDEN_DROPOUT), nn.Linear(hidden, targets.shape[1]),
        )  # fmt: skip
        deviations = ((inputs - mean) / scale).clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        _train(
            network, torch.from_numpy(deviations[:, is_seen]), targets, weights, loss, epochs, title
        )
    first, last = network[1], network[4]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    unit = 100.0 if loss == "huber" else 1.0
    rows = np.zeros((inputs.shape[1], hidden), np.float32)
    rows[is_seen] = first.weight.detach().T.numpy()
    return SmallNetwork(
        mean=mean.astype(np.float32),
        scale=scale,
        hidden=rows,
        hidden_bias=first.bias.detach().numpy(),
        outputs=(unit * last.weight.detach()).T.contiguous().numpy(),
        outputs_bias=(unit * last.bias.detach()).numpy(),
    )


def store(
    directory: Path, name: str, network: SmallNetwork, backbone: str, facts: Mapping[str, Any]
) -> None:
    """
    Add a head to a checkpoint, in place of one of its name; the weights stay as they are.

    Args:
        directory: Of the checkpoint.
        name: Of the head, in the card and in `HEADS_FILE`.
        network: Its large matrix is stored in half precision.
        backbone: Of the checkpoint's network.
        facts: What the card says of the head.
    """
    path = directory / HEADS_FILE
    tensors = load_file(path) if path.exists() else {}
    for part in SmallNetwork.__dataclass_fields__:
        values: Float = getattr(network, part)
        tensors[f"{name}.{part}"] = values.astype(np.float16) if part == "hidden" else values
    stored = save(tensors)
    told = {"backbone": backbone, "sha256": hashlib.sha256(stored).hexdigest()}
    # Both are whole before either takes its place: a checkpoint may be served or copied meanwhile.
    with checkpoint.written_beside(path) as made:
        made.write_bytes(stored)
        checkpoint.change_card(directory, {"heads": told, name: dict(facts)})


def in_half_precision(network: SmallNetwork) -> SmallNetwork:
    """Return the network as it is stored: what is measured is what is served."""
    parts = {part: getattr(network, part) for part in SmallNetwork.__dataclass_fields__}
    return SmallNetwork(**{**parts, "hidden": network.hidden.astype(np.float16).astype(np.float32)})


def blended(parts: Sequence[tuple[float, SmallNetwork]]) -> SmallNetwork:
    """
    Return one network whose outputs are the weighted sum of others'.

    Args:
        parts: Weights, and networks fitted on the same inputs, so of the same mean and scale.
    """
    (_, first), *_ = parts
    return SmallNetwork(
        mean=first.mean,
        scale=first.scale,
        hidden=np.concatenate([network.hidden for _, network in parts], axis=1),
        hidden_bias=np.concatenate([network.hidden_bias for _, network in parts]),
        outputs=np.concatenate([np.float32(w) * network.outputs for w, network in parts]),
        outputs_bias=sum(
            (np.float32(w) * network.outputs_bias for w, network in parts),
            start=np.zeros_like(first.outputs_bias),
        ),
    )


def _train(
    network: nn.Sequential,
    deviations: Tensor,
    targets: Float,
    weights: Float,
    loss: Loss,
    epochs: int,
    title: str,
) -> None:
    wanted, weight = torch.from_numpy(targets), torch.from_numpy(weights)[:, None]
    is_known = ~torch.isnan(wanted)
    wanted = torch.where(is_known, wanted, 0.0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    n = len(wanted)
    steps = epochs * (-(-n // BATCH_SIZE))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in trange(epochs, desc=title, unit="epoch"):
        for chosen in torch.split(torch.randperm(n), BATCH_SIZE):
            seen = deviations[chosen] + INPUT_NOISE * torch.randn(len(chosen), deviations.shape[1])
            told = network(seen)
            if loss == "huber":  # the network speaks in hundreds, so that its outputs start near
                each = functional.huber_loss(
                    100 * told, wanted[chosen], reduction="none", delta=HUBER_POINTS
                )
            else:
                each = functional.binary_cross_entropy_with_logits(
                    told, wanted[chosen], reduction="none"
                )
            counted = is_known[chosen] * weight[chosen]
            error = (each * counted).sum() / counted.sum()
            optimiser.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]  # torch's stubs have none
            optimiser.step()
            schedule.step()
    network.eval()
