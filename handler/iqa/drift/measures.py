"""
What is measured of a picture to notice a drift, from what is computed for its score already.

Three groups. The file's and the pixels' numbers say what came; no network takes part in them. The
network's say what this model made of it.

    file       megapixels, aspect (width by height), format
    pixels     brightness, shadows, contrast, sharpness, detail, noise, gradation
    network    feature_1 ...: a fixed random projection of its pooled features; score

Those of pixels are of the network's input, of green, in rows:

    brightness     mean tone
    shadows        tone that a hundredth of the pixels is darker than
    contrast       deviation of the tones
    sharpness      mean second difference by mean step between neighbours: blur lowers it, noise
                   raises it
    detail         second differences of 3 to 5 by steps of 3 to 5: lossy files lower it as well
    noise          mean step in the flattest tenth of all places
    gradation      share of the steps that are 1: JPEG's blocks and few tones change it most
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from iqa.imaging import statistics
from numpy.typing import NDArray

FILE: Final = ("megapixels", "aspect", "format")
PIXELS: Final = (
    "brightness", "shadows", "contrast", "sharpness", "detail", "noise", "gradation",
)  # fmt: skip
N_PROJECTIONS: Final = 6
FEATURES: Final = tuple(f"feature_{number}" for number in range(1, N_PROJECTIONS + 1))
SCORE: Final = "score"
PICTURES: Final = (*FILE, *PIXELS)
"""What no network takes part in."""
NETWORK: Final = (*FEATURES, SCORE)
NAMES: Final = (*PICTURES, *NETWORK)

DECIMALS: Final = 6
# The middle of each range of `statistics.STEP_EDGES`, of the last one a usual value.
_STEPS: Final = (0.0, 1.0, 2.0, 3.0, 4.5, 7.0, 10.5, 16.5, 30.5, 60.5, 120.0)
_FAINT: Final = slice(3, 5)  # ranges of steps of 3, and of 4 and 5
# So that a flat picture, which has no steps at all, has a sharpness of 1 and a detail of 0.
_LEAST_STEP: Final = 0.5
_LEAST_SHARE: Final = 0.01

Measures = dict[str, float | str]
"""By names of `NAMES`; what a model does not have is left out."""


def _table() -> NDArray[np.float32]:
    """Return how the pixels' measures, or what they are made of, are summed up from statistics."""
    table = np.zeros((statistics.N_STATISTICS, 9), np.float32)
    faint = np.zeros(len(_STEPS), np.float32)
    faint[_FAINT] = 1
    table[statistics.MEAN_TONE, 0] = 1
    table[statistics.TONES.start + statistics.TONE_SHARES.index(0.01), 1] = 1
    table[statistics.TONE_DEVIATION, 2] = 1
    table[statistics.BLOCKS_RIGHT.start + statistics.BLOCK_SHARES.index(0.1), 3] = 1
    table[statistics.STEPS_RIGHT.start + 1, 4] = 1
    table[statistics.SECOND_DIFFERENCES, 5], table[statistics.STEPS_RIGHT, 6] = _STEPS, _STEPS
    table[statistics.SECOND_DIFFERENCES, 7], table[statistics.STEPS_RIGHT, 8] = faint, faint
    return table


_TABLE: Final = _table()
_COLUMNS: Final = (
    "brightness", "shadows", "contrast", "noise", "gradation", "sharpness", "detail",
)  # fmt: skip


def of_pixels(pixel_statistics: NDArray[np.float32]) -> Measures:
    """
    Return the group `pixels`.

    Args:
        pixel_statistics: float32, shape (N_STATISTICS,); see `iqa.imaging.statistics`.
    """
    sums = (pixel_statistics @ _TABLE).astype(np.float64)
    sums[5:7] += _LEAST_STEP
    sums[8] += _LEAST_SHARE
    sums[5], sums[6] = sums[5] / sums[6], sums[7] / sums[8]
    return dict(zip(_COLUMNS, sums[:7].round(DECIMALS).tolist(), strict=True))


def projection(n_means: int) -> NDArray[np.float32]:
    """
    Return the projection of a network's pooled features: signs, from a digest and not a generator.

    Of the means alone: a reference stays true when the heads are fitted anew.

    Random signs keep distances as normal numbers do. Source: Achlioptas, "Database-friendly random
    projections", J. Comput. Syst. Sci. 66 (2003), theorem 1.1.

    Args:
        n_means: Of the network; see `iqa.network.intermediate_features`.

    Returns:
        float32, shape (n_means, N_PROJECTIONS): +1 or -1 over the root of n_means.
    """
    wanted = n_means * N_PROJECTIONS
    drawn = hashlib.shake_256(b"iqa drift").digest(-(-wanted // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[:wanted]
    signs = bits.reshape(n_means, N_PROJECTIONS).astype(np.float32) * 2 - 1
    return signs / np.float32(np.sqrt(n_means))


def of_features(features: NDArray[np.float32], signs: NDArray[np.float32]) -> Measures:
    """
    Return the features of the group `network`.

    Args:
        features: float32, shape (n_features,); the means come first.
        signs: Of `projection`.
    """
    projected = (features[: len(signs)] @ signs).astype(np.float64).round(DECIMALS)
    return dict(zip(FEATURES, projected.tolist(), strict=True))


def of_file(size: tuple[int, int], format_name: str) -> Measures:
    """
    Return the group `file`.

    Args:
        size: (width, height) of the file's picture, upright.
        format_name: As in a reply.
    """
    width, height = size
    return {
        "megapixels": round(width * height / 1e6, DECIMALS),
        "aspect": round(width / height, 4),
        "format": format_name,
    }


def of_reply(reply: Mapping[str, Any]) -> Measures:
    """Return the score, where the reply has one."""
    return {SCORE: reply[SCORE]} if SCORE in reply else {}
