"""How predicted classes agree with labels: accuracy, F1, AUC, cross-entropy, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from iqa.tasks.classes import SMALLEST, calibrated
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

BOOTSTRAP_SAMPLES: Final = 1000
ECE_BINS: Final = 15
TOP: Final = 5
SIGNIFICANT: Final = 0.05
DECIMALS: Final = 6


def confusion(outputs: Array, target: Array) -> Counts:
    """
    Count by class.

    Args:
        outputs: Shape (N, K), probabilities.
        target: Shape (N,), numbers of classes.

    Returns:
        Shape (K, K): a row for each true class, a column for each predicted one.

    Raises:
        ValueError: Shapes that do not fit, or a number that is no class.
    """
    k = outputs.shape[1] if outputs.ndim == 2 else 0
    if k < 2 or target.shape != outputs.shape[:1] or not len(target) or target.max() >= k:
        raise ValueError(
            f"classes: expected probabilities (N, K) and the number of a class for each, got "
            f"{outputs.shape} and {target.shape} up to {target.max(initial=0):g}."
        )
    flat = target.astype(int) * k + outputs.argmax(axis=1)
    return np.bincount(flat, minlength=k * k).reshape(k, k)


def measure(outputs: Array, target: Array) -> dict[str, float]:
    """
    Measure predictions.

    Args:
        outputs: See `confusion`.
        target: See `confusion`.

    Returns:
        `accuracy`, `macro_f1` (over the classes that are there), `cross_entropy` in nats, `ece`
        (see `calibration_error`), `top_5` where there are more than five classes, and `n`.
    """
    table = confusion(outputs, target)
    found = {
        "accuracy": float(np.trace(table) / table.sum()),
        "macro_f1": float(_macro(_by_class(table)[2], table)),
        "cross_entropy": float(-np.log(np.maximum(_own(outputs, target), SMALLEST)).mean()),
        "ece": calibration_error(outputs, target),
    }
    if outputs.shape[1] > TOP:
        rank = (outputs > _own(outputs, target)[:, None]).sum(axis=1)
        found["top_5"] = float((rank < TOP).mean())
    return {**found, "n": len(target)}


def evaluate(
    outputs: Array, target: Array, temperature: float, names: Sequence[str]
) -> dict[str, Any]:
    """
    Measure a finished network.

    Args:
        outputs: See `confusion`.
        target: See `confusion`.
        temperature: Of the card.
        names: Of the classes.

    Returns:
        What `measure` gives, `roc_auc` (one class against the others, mean over the classes),
        `calibrated` with cross-entropy and ECE, 95 % intervals, `by_class` with precision, recall
        and F1, and the `confusion`.
    """
    table = confusion(outputs, target)
    probabilities = calibrated(outputs, temperature)
    own = -np.log(np.maximum(_own(outputs, target), SMALLEST))
    half_width = 1.96 * float(own.std()) / len(own) ** 0.5
    found: dict[str, Any] = {
        **measure(outputs, target),
        "roc_auc": roc_auc(outputs, target),
        "accuracy_ci95": _wilson(int(np.trace(table)), int(table.sum())),
        "cross_entropy_ci95": [float(own.mean()) - half_width, float(own.mean()) + half_width],
        "calibrated": {
            "cross_entropy": measure(probabilities, target)["cross_entropy"],
            "ece": calibration_error(probabilities, target),
        },
    }
    sampled = _resampled(table)
    precision, recall, f1 = _by_class(table)
    low, high = np.nanpercentile(_macro(_by_class(sampled)[2], sampled), [2.5, 97.5])
    found["macro_f1_ci95"] = [float(low), float(high)]
    f1_low, f1_high = np.nanpercentile(_by_class(sampled)[2], [2.5, 97.5], axis=0)
    found["by_class"] = [
        {
            "label": name,
            "n": int(table[i].sum()),
            "precision": round(float(precision[i]), DECIMALS),
            "precision_ci95": _wilson(int(table[i, i]), int(table[:, i].sum())),
            "recall": round(float(recall[i]), DECIMALS),
            "recall_ci95": _wilson(int(table[i, i]), int(table[i].sum())),
            "f1": round(float(f1[i]), DECIMALS),
            "f1_ci95": [round(float(f1_low[i]), DECIMALS), round(float(f1_high[i]), DECIMALS)],
        }
        for i, name in enumerate(names)
    ]
    found["confusion"] = table.tolist()
    return found


def calibration_error(outputs: Array, target: Array, bins: int = ECE_BINS) -> float:
    """
    Return the expected calibration error: by how much confidence and accuracy differ.

    Source: Guo et al., ICML 2017, equation 3: equally wide bins of the confidence, weighted by how
    many images are in each.

    Args:
        outputs: Shape (N, K), probabilities.
        target: Shape (N,).
        bins: How many.
    """
    confidence = outputs.max(axis=1)
    is_right = (outputs.argmax(axis=1) == target).astype(float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    n = np.bincount(place, minlength=bins)
    difference = np.bincount(place, confidence - is_right, minlength=bins)
    return float(np.abs(difference).sum() / n.sum())


def reliability(outputs: Array, target: Array, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """Return `confidence`, `accuracy` and `n` of each bin that holds images."""
    confidence = outputs.max(axis=1)
    is_right = outputs.argmax(axis=1) == target
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidence[place == b].mean()),
            "accuracy": float(is_right[place == b].mean()),
            "n": float((place == b).sum()),
        }
        for b in range(bins)
        if (place == b).any()
    ]


def roc_auc(outputs: Array, target: Array) -> float:
    """Return the area under the curve of each class against the others, mean over the classes."""
    from sklearn.metrics import roc_auc_score

    there = [k for k in range(outputs.shape[1]) if 0 < (target == k).sum() < len(target)]
    areas = [roc_auc_score(target == k, outputs[:, k]) for k in there]
    return float(np.mean(areas)) if areas else float("nan")


def is_better(new: Array, old: Array, target: Array) -> tuple[bool, str]:
    """
    Compare two networks on the same images.

    By McNemar's exact test: of the images on which one is right and the other wrong, as many would
    be each one's by chance. Where that cannot be told from chance, the lower cross-entropy decides.

    Args:
        new: Shape (N, K), probabilities.
        old: Same shape.
        target: Shape (N,).

    Returns:
        Whether the new one is better, and why.

    Raises:
        ValueError: They have other classes.
    """
    if new.shape != old.shape:
        raise ValueError(f"expected as many classes, got {new.shape[1:]} and {old.shape[1:]}.")
    is_right = [outputs.argmax(axis=1) == target for outputs in (new, old)]
    won, lost = (int((is_right[i] & ~is_right[1 - i]).sum()) for i in (0, 1))
    p = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    ours, theirs = measure(new, target), measure(old, target)
    words = (
        f"accuracy {ours['accuracy']:.4f} against {theirs['accuracy']:.4f}: right on {won} images "
        f"that the other has wrong, wrong on {lost} (McNemar's test: p = {p:.3g})"
    )
    if p < SIGNIFICANT:
        return won > lost, words
    # Rounded as tags are: an equal network must not win by what is left out.
    entropies = [round(found["cross_entropy"], DECIMALS) for found in (ours, theirs)]
    tie = f"; a tie, and the cross-entropy is {entropies[0]:.4f} against {entropies[1]:.4f}"
    return entropies[0] < entropies[1], words + tie


def _own(outputs: Array, target: Array) -> Array:
    """Return the probability of each image's true class."""
    own: Array = outputs[np.arange(len(target)), target.astype(int)]
    return own


def _by_class(table: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Return precision, recall, F1 of each class; of one that never occurs 0. Shapes (..., K)."""
    hits = np.diagonal(table, axis1=-2, axis2=-1).astype(float)
    predicted, true = table.sum(axis=-2), table.sum(axis=-1)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(predicted + true, 1)
    return precision, recall, f1


def _macro(f1: Array, table: NDArray[Any]) -> Array:
    """Return the mean over the classes that are among the labels."""
    is_there = table.sum(axis=-1) > 0
    mean: Array = (f1 * is_there).sum(axis=-1) / np.maximum(is_there.sum(axis=-1), 1)
    return mean


def _resampled(table: Counts, seed: int = 0) -> Counts:
    """Return bootstrap samples of a confusion: drawing images is drawing its cells."""
    rng = np.random.default_rng(seed)
    n = int(table.sum())
    drawn = rng.multinomial(n, (table / n).ravel(), size=BOOTSTRAP_SAMPLES)
    return drawn.reshape(BOOTSTRAP_SAMPLES, *table.shape)


def _wilson(k: int, n: int) -> list[float]:
    """Return the 95 % Wilson interval of a share."""
    if n == 0:
        return [0.0, 1.0]
    found = stats.binomtest(k, n).proportion_ci(method="wilson")
    return [round(float(found.low), DECIMALS), round(float(found.high), DECIMALS)]
