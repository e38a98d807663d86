"""
Synthetic pseudo-MOS: ratings without viewers, from full-reference metrics without weights.

For `training.demo_data` only. Metrics and mapping: shared/reference/iqa.md, section 10.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import piq
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

# Of KonIQ-10k's MOS (iqa.md, section 5): share of the pictures, and the MOS they stay under.
MOS_QUANTILES: Final = (
    (0.0, 3.912), (0.01, 16.0), (0.05, 28.6), (0.25, 49.2), (0.5, 62.4), (0.75, 70.7),
    (0.95, 77.7), (0.99, 81.5), (1.0, 88.389),
)  # fmt: skip

# KonIQ-10k's MOS is about 27.82 times the mean vote (1-5) minus 29.23 (iqa.md, section 5).
MOS_PER_VOTE: Final = 27.82
MOS_OFFSET: Final = -29.23
VOTERS: Final = (93, 157)
VOTE_SPREAD: Final = (0.35, 0.80)


def similarity(picture: Image.Image, original: Image.Image) -> tuple[float, float, float]:
    """
    Compare a picture with the original that it was made from.

    Args:
        picture: RGB.
        original: RGB, same size.

    Returns:
        HaarPSI, VSI and 1 - MDSI: each 1 for equal pictures, lower for worse ones.
    """
    with torch.inference_mode():
        x, y = _batch_NCHW(picture), _batch_NCHW(original)
        return float(piq.haarpsi(x, y)), float(piq.vsi(x, y)), 1 - float(piq.mdsi(x, y))


def pseudo_mos(similarities: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Turn similarities into ratings that are distributed like KonIQ-10k's.

    The rank of the mean of the three ranks decides; the metrics' own scales do not matter.

    Args:
        similarities: Shape (N, 3), N at least 2; `similarity`'s, one row a picture.

    Returns:
        Shape (N,), in [3.912, 88.389], higher is better, three decimals.
    """
    mean_rank: NDArray[np.float64] = rankdata(similarities, axis=0).mean(axis=1)
    share = (rankdata(mean_rank) - 1) / (len(mean_rank) - 1)
    shares, values = zip(*MOS_QUANTILES, strict=True)
    mos: NDArray[np.float64] = np.round(np.interp(share, shares, values), 3)
    return mos


def imagined_votes(mos: NDArray[np.float64], rng: np.random.Generator) -> pd.DataFrame:
    """
    Draw the columns that KonIQ-10k has beside the MOS.

    For each picture 93 to 157 normal draws around the mean vote that its MOS stands for, with a
    spread drawn in [0.35, 0.80], are rounded and clipped to 1-5. So they agree with the MOS only
    roughly, as the real ones do.

    Args:
        mos: Shape (N,), 0-100.
        rng: What is drawn from.

    Returns:
        N rows: c1..c5 (fractions, sum 1), c_total (votes), SD (of the votes, on 1-5).
    """
    rows = []
    for mean_vote in (mos - MOS_OFFSET) / MOS_PER_VOTE:
        n = int(rng.integers(VOTERS[0], VOTERS[1] + 1))
        draws = rng.normal(mean_vote, rng.uniform(*VOTE_SPREAD), n)
        votes = np.clip(np.round(draws), 1, 5).astype(int)
        counts = np.bincount(votes, minlength=6)[1:]
        fractions = {f"c{vote}": count / n for vote, count in enumerate(counts, start=1)}
        rows.append({**fractions, "c_total": n, "SD": round(float(votes.std(ddof=1)), 6)})
    return pd.DataFrame(rows)


def _batch_NCHW(image: Image.Image) -> Tensor:
    """Return float32, shape (1, 3, H, W), in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
