"""
Targets from a teacher: ratings, mixed with the scores of a network that was trained on them.

A squared error against a mean of two targets is that mean of the two errors, and a constant: so a
student learns from both in one pass. The teacher sees each image by its own policy, at full size
where the student's input is smaller, and is asked once.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from iqa.network import checkpoint
from numpy.typing import NDArray

from training.data.cache import write_arrays
from training.data.ratings import Split
from training.measure.predict import predict, torch_predictor
from training.networks import by_name

logger = logging.getLogger(__name__)

TAUGHT_FILE: Final = "teacher.npz"


def taught(
    split: Split, teacher: Path, share: float, directory: Path, device: torch.device, workers: int
) -> Split:
    """
    Return the same images with targets that are in part the teacher's.

    Args:
        split: With ratings in [0, 1].
        teacher: Folder of a checkpoint with one output in [0, 1].
        share: Of the teacher in each target, above 0 and at most 1.
        directory: Keeps the teacher's scores: a run that is continued does not ask again.
        device: Where the teacher computes.
        workers: Processes that decode.

    Raises:
        FileNotFoundError: A file of the teacher is missing.
        ValueError: The teacher has several outputs.
    """
    network, card = by_name.load(teacher)
    if network.ends_in.n_outputs != 1:
        raise ValueError(
            f"--teacher: expected a model of quality, got one of {network.ends_in.n_outputs} "
            "outputs."
        )
    path, digest = directory / TAUGHT_FILE, str(card["weights_sha256"])
    scores = _kept(path, digest, split)
    if scores is None:
        scores = predict(
            torch_predictor(network.to(device), device),
            split.seen_by(checkpoint.policy_of(card)),
            workers=workers,
            title="teacher",
        )
        directory.mkdir(parents=True, exist_ok=True)
        write_arrays(path, scores=scores, names=np.array(split.names), weights_sha256=digest)
    apart = float(np.sqrt(np.mean((scores - split.target) ** 2)))
    logger.info("teacher: %d scores, %.2f points from the ratings (RMSE)", len(scores), 100 * apart)
    return replace(split, target=(1 - share) * split.target + share * scores)


def _kept(path: Path, weights_sha256: str, split: Split) -> NDArray[np.float64] | None:
    """Return what the same teacher said of the same images before, or None."""
    if not path.exists():
        return None
    kept = np.load(path, allow_pickle=False)
    if str(kept["weights_sha256"]) != weights_sha256 or kept["names"].tolist() != split.names:
        return None
    scores: NDArray[np.float64] = kept["scores"]
    return scores
