"""
Numbers about the pixels that the network is shown: steps between neighbours, tones, colours.

What a network for photographs does not look at: how many neighbours are equal, how many colours
there are, how low the noise can get, how steep edges are. The only definition, for training the
heads (`iqa.tasks.heads`) and for serving.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Two neighbouring rows of every sixteen: 25,000 pixels say the same as 200,000.
ROW_STEP: Final = 16
STEP_EDGES: Final = (1, 2, 3, 4, 6, 9, 13, 21, 41, 81)
"""Upper ends, not included, of the ranges in which steps between neighbours are counted."""
BLOCK_PX: Final = 8
BLOCK_SHARES: Final = (0.02, 0.1, 0.25, 0.5, 0.75, 0.95)
TONE_SHARES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_LAST_OF_RANGE: Final = np.array(STEP_EDGES) - 1
# Where in the vector some of them are, for whoever reads it.
STEPS_RIGHT: Final = slice(0, len(STEP_EDGES) + 1)
SECOND_DIFFERENCES: Final = slice(2 * (len(STEP_EDGES) + 1), 3 * (len(STEP_EDGES) + 1))
BLOCKS_RIGHT: Final = slice(SECOND_DIFFERENCES.stop, SECOND_DIFFERENCES.stop + len(BLOCK_SHARES))
TONES: Final = slice(
    BLOCKS_RIGHT.stop + len(BLOCK_SHARES),
    BLOCKS_RIGHT.stop + len(BLOCK_SHARES) + len(TONE_SHARES),
)
MEAN_TONE: Final = TONES.stop
TONE_DEVIATION: Final = TONES.stop + 1
N_STATISTICS: Final = 3 * (len(STEP_EDGES) + 1) + 2 * len(BLOCK_SHARES) + len(TONE_SHARES) + 23


def pixel_statistics(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Sum up the network's input.

    Args:
        pixels_HWC: uint8, shape (H, W, 3), RGB, both sides at least 16: `preprocess`'s output.

    Returns:
        float32, shape (N_STATISTICS,), finite: shares in [0, 1], tones and steps over 255. In
        this order: shares of the steps of green to the right, downwards, and of second
        differences by `STEP_EDGES`; quantiles of the mean step in blocks, to the right and
        downwards; tones of green at `TONE_SHARES`; then single numbers.
    """
    upper = np.ascontiguousarray(pixels_HWC[ROW_STEP // 2 :: ROW_STEP].transpose(2, 0, 1))
    lower = np.ascontiguousarray(pixels_HWC[ROW_STEP // 2 + 1 :: ROW_STEP].transpose(2, 0, 1))
    upper = upper[:, : lower.shape[1]]
    green = upper[1]
    right, down = _steps(green[:, 1:], green[:, :-1]), _steps(green, lower[1])
    signed = green.astype(np.int16)
    second = np.abs(2 * signed[:, 1:-1] - signed[:, 2:] - signed[:, :-2])
    second = np.minimum(second, 255).astype(np.uint8)
    return np.concatenate(
        [
            _shares(right), _shares(down), _shares(second),
            _block_quantiles(right), _block_quantiles(down),
            _tones(green), _equalities(upper, lower, right), _colours(upper),
        ],
        dtype=np.float32,
    )  # fmt: skip


def _steps(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.maximum(a, b) - np.minimum(a, b)


def _shares(steps: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of steps in each range of `STEP_EDGES`, and above the last."""
    below = np.bincount(steps.ravel(), minlength=256).cumsum()
    ends = np.array([0, *below[_LAST_OF_RANGE], steps.size])
    return (ends[1:] - ends[:-1]) / steps.size


def _block_quantiles(steps: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return quantiles of the mean step in runs of `BLOCK_PX`: the lowest is the noise floor."""
    n = steps.shape[1] // BLOCK_PX
    sums = steps[:, : n * BLOCK_PX].astype(np.uint16)
    for _ in range(3):  # 8 = 2 x 2 x 2; a sum over a short axis takes five times as long
        sums = sums[:, ::2] + sums[:, 1::2]
    means = np.sort(sums, axis=None)
    places = (np.array(BLOCK_SHARES) * (means.size - 1)).astype(int)
    return means[places] / (BLOCK_PX * 255)


def _tones(green: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return tones by share, then mean, deviation, both ends, entropy, gaps, the commonest."""
    counts = np.bincount(green.ravel(), minlength=256)
    below, tones = counts.cumsum(), np.arange(256) / 255
    places = np.searchsorted(below, np.array(TONE_SHARES) * green.size)
    low, high = int(places[0]), int(places[-1])
    share = counts / green.size
    mean = float(share @ tones)
    filled = share[share > 0]
    gaps = float(np.mean(counts[low : high + 1] == 0))
    return np.array(
        [
            *(places / 255), mean, math.sqrt(max(float(share @ tones**2) - mean**2, 0.0)),
            share[:5].sum(), share[251:].sum(), -(filled * np.log(filled)).sum() / np.log(256),
            gaps, share.max(), np.sort(share)[-8:].sum(),
        ]
    )  # fmt: skip


def _equalities(
    upper: NDArray[np.uint8], lower: NDArray[np.uint8], right: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return shares of equal neighbours: right, down, both, and in runs of four."""
    same_right, same_down = (
        (a[0] == b[0]) & (a[1] == b[1]) & (a[2] == b[2])
        for a, b in ((upper[..., 1:], upper[..., :-1]), (upper, lower))
    )
    runs = same_right[:, :-2] & same_right[:, 1:-1] & same_right[:, 2:]
    both = same_right & same_down[:, 1:]
    ends = (right[:, 1:] == 0) & (right[:, :-1] > 40)  # a steep edge beside a flat place
    return np.array(
        [np.count_nonzero(part) / part.size for part in (same_right, same_down, both, runs, ends)]
    )


def _colours(upper: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how many colours there are and how they spread."""
    red, green, blue = upper[..., ::2].reshape(3, -1)
    n = red.size
    wide = red.astype(np.int32), green.astype(np.int32), blue.astype(np.int32)
    packed = wide[0] << 16 | wide[1] << 8 | wide[2]
    coarse = np.bincount(
        (red >> 4).astype(np.int16) << 8 | (green & 0xF0) | blue >> 4, minlength=4096
    )
    share = coarse[coarse > 0] / n
    highest = np.sort(share)[::-1]
    packed.sort()
    n_fine = 1 + np.count_nonzero(packed[1:] != packed[:-1])
    chroma = _steps(
        np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    )
    return np.array(
        [
            len(share) / 4096, highest[0], highest[:4].sum(), -(share * np.log(share)).sum() / 8.4,
            n_fine / n, chroma.mean() / 255, np.count_nonzero(chroma < 4) / n,
            np.count_nonzero(chroma > 150) / n, (wide[0] - wide[1]).mean() / 255,
            (wide[2] - wide[1]).mean() / 255,
        ]
    )  # fmt: skip
