"""How predictions agree with ratings: SROCC, PLCC, KROCC, MAE, RMSE, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Vector = NDArray[np.float64]

BOOTSTRAP_SAMPLES: Final = 1000
BATCH: Final = 10
"""Samples at a time: more are no faster, and all 1000 of 12,000 pictures take a gigabyte."""
COMPARED: Final = ("srocc", "plcc", "rmse_100")


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
        seed: Seed of the resampling.

    Returns:
        [low, high] under `srocc_ci95`, `plcc_ci95`, `mae_100_ci95`, `rmse_100_ci95`.
    """
    low, high = _interval(
        lambda q, t, axis: np.stack([measure(q, t, axis) for measure in _MEASURES.values()]),
        (quality, target),
        seed,
    )
    return {f"{name}_ci95": [float(low[i]), float(high[i])] for i, name in enumerate(_MEASURES)}


def paired_difference(
    quality: Vector, baseline: Vector, target: Vector, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """
    Compare two predictions of the same pictures, by a bootstrap that draws both together.

    Args:
        quality: As for `agreement`.
        baseline: The same images, predicted by another network.
        target: As for `agreement`.
        seed: Seed of the resampling.

    Returns:
        `srocc`, `plcc` and `rmse_100` of the first less those of the baseline: the difference and
        its 95 % percentile interval (difference, low, high).
    """
    measures = [_MEASURES[name] for name in COMPARED]

    def differences(q: Vector, b: Vector, t: Vector, axis: int = -1) -> Vector:
        return np.stack([measure(q, t, axis) - measure(b, t, axis) for measure in measures])

    data = (quality, baseline, target)
    rows = (differences(*data), *_interval(differences, data, seed))
    return {
        name: (float(found), float(low), float(high))
        for name, found, low, high in zip(COMPARED, *rows, strict=True)
    }


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


def _interval(
    statistic: Callable[..., Vector], data: tuple[Vector, ...], seed: int
) -> tuple[Vector, Vector]:
    """
    Return the 95 % percentile interval of each of the statistic's rows.

    Args:
        statistic: Computes the statistic of vectors along `axis`; shape (rows, ...).
        data: The vectors, of which the same places are drawn together.
        seed: Seed of the resampling.
    """
    found = stats.bootstrap(
        data, statistic, paired=True, vectorized=True, n_resamples=BOOTSTRAP_SAMPLES,
        batch=BATCH, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return found.low, found.high


def _pearson(a: Vector, b: Vector, axis: int) -> Vector:
    a, b = a - a.mean(axis=axis, keepdims=True), b - b.mean(axis=axis, keepdims=True)
    norm = np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    return (a * b).sum(axis=axis) / np.where(norm == 0, np.inf, norm)  # 0 where one is constant


def _spearman(quality: Vector, target: Vector, axis: int) -> Vector:
    return _pearson(stats.rankdata(quality, axis=axis), stats.rankdata(target, axis=axis), axis)


def _mae_100(quality: Vector, target: Vector, axis: int) -> Vector:
    return 100 * np.abs(quality - target).mean(axis=axis)


def _rmse_100(quality: Vector, target: Vector, axis: int) -> Vector:
    return 100 * np.sqrt(((quality - target) ** 2).mean(axis=axis))


_MEASURES: Final[dict[str, Callable[[Vector, Vector, int], Vector]]] = {
    "srocc": _spearman,
    "plcc": _pearson,
    "mae_100": _mae_100,
    "rmse_100": _rmse_100,
}
