"""How predictions agree with ratings: SROCC, PLCC, KROCC, MAE, RMSE, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]

BOOTSTRAP_SAMPLES: Final = 1000


def agreement(quality: Vector, target: Vector) -> dict[str, float]:
    """
    Compare predicted quality with rated quality.

    PLCC is computed without a logistic fit: the score is used as it is served.

    Args:
        quality: Shape (N,), predictions in [0, 1].
        target: Shape (N,), ratings mapped to [0, 1].

    Returns:
        `srocc`, `plcc`, `krocc` in [-1, 1] (0 where either side is constant), `mae` and `rmse`
        in quality, `mae_100` and `rmse_100` in points of the 0-100 score, `n`.

    Raises:
        ValueError: Fewer than two pairs, or shapes that differ.
    """
    if quality.shape != target.shape or quality.ndim != 1 or len(quality) < 2:
        raise ValueError(
            f"agreement: expected two equally long vectors of at least 2, "
            f"got {quality.shape} and {target.shape}."
        )
    error = quality - target
    mae, rmse = float(np.abs(error).mean()), float(np.sqrt((error**2).mean()))
    is_flat = bool(np.ptp(quality) == 0 or np.ptp(target) == 0)
    return {
        "srocc": 0.0 if is_flat else float(stats.spearmanr(quality, target).statistic),
        "plcc": 0.0 if is_flat else float(stats.pearsonr(quality, target).statistic),
        "krocc": 0.0 if is_flat else float(stats.kendalltau(quality, target).statistic),
        "mae": mae,
        "rmse": rmse,
        "mae_100": 100 * mae,
        "rmse_100": 100 * rmse,
        "n": len(quality),
    }


def intervals(quality: Vector, target: Vector, seed: int = 0) -> dict[str, list[float]]:
    """
    Return 95 % percentile bootstrap intervals over the pictures.

    Args:
        quality: As for `agreement`.
        target: As for `agreement`.
        seed: Of the resampling.

    Returns:
        [low, high] under `srocc_ci95`, `plcc_ci95`, `mae_100_ci95`, `rmse_100_ci95`.
    """
    rng = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {"srocc": [], "plcc": [], "mae_100": [], "rmse_100": []}
    for _ in range(BOOTSTRAP_SAMPLES):
        chosen = rng.integers(0, len(quality), len(quality))
        q, t = quality[chosen], target[chosen]
        error = 100 * (q - t)
        samples["srocc"].append(_spearman(q, t))
        samples["plcc"].append(_pearson(q, t))
        samples["mae_100"].append(float(np.abs(error).mean()))
        samples["rmse_100"].append(float(np.sqrt((error**2).mean())))
    return {
        f"{name}_ci95": [float(v) for v in np.percentile(values, [2.5, 97.5])]
        for name, values in samples.items()
    }


def paired_difference(
    quality: Vector, baseline: Vector, target: Vector, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """
    Compare two predictions of the same pictures, by a bootstrap that draws both together.

    Args:
        quality: As for `agreement`.
        baseline: The same images, predicted by another network.
        target: As for `agreement`.
        seed: Of the resampling.

    Returns:
        `srocc`, `plcc` and `rmse_100` of the first less those of the baseline: the difference and
        its 95 % percentile interval (difference, low, high).
    """
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(target), len(target)) for _ in range(BOOTSTRAP_SAMPLES)]
    whole = np.arange(len(target))
    found = {}
    for name, measure in _COMPARED.items():
        samples = [
            measure(quality[chosen], target[chosen]) - measure(baseline[chosen], target[chosen])
            for chosen in (whole, *draws)
        ]
        low, high = np.percentile(samples[1:], [2.5, 97.5])
        found[name] = (samples[0], float(low), float(high))
    return found


def error_by_band(quality: Vector, target: Vector) -> list[dict[str, float]]:
    """
    Return the error of the score in bands of 20 points of the rating.

    Returns:
        One row a band that holds pictures: `low`, `high` (points), `n`, `mae_100`, and
        `bias_100` (mean of predicted minus rated).
    """
    rows = []
    for low in range(0, 100, 20):
        in_band = (100 * target >= low) & ((100 * target < low + 20) | (low == 80))
        if in_band.any():
            error = 100 * (quality - target)[in_band]
            rows.append(
                {
                    "low": float(low),
                    "high": float(low + 20),
                    "n": float(in_band.sum()),
                    "mae_100": float(np.abs(error).mean()),
                    "bias_100": float(error.mean()),
                }
            )
    return rows


def _pearson(a: Vector, b: Vector) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else 0.0


def _spearman(quality: Vector, target: Vector) -> float:
    return _pearson(stats.rankdata(quality), stats.rankdata(target))


def _rmse_100(quality: Vector, target: Vector) -> float:
    return 100 * float(np.sqrt(np.mean((quality - target) ** 2)))


_COMPARED: Final[dict[str, Callable[[Vector, Vector], float]]] = {
    "srocc": _spearman,
    "plcc": _pearson,
    "rmse_100": _rmse_100,
}
