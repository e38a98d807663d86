"""
What a model's scores are worth on rated pictures: measured, printed, written to files.

For `training.evaluate`, and for the test split at the end of `training.train`. Three kinds of
quality are told apart: `raw`, the network's own; `calibrated`, as the card says; `served`, the
calibrated quality of the graph that is served, where one is given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from iqa.tasks.score_scales import ScoreScale, calibrate
from numpy.typing import NDArray

from training.data.ratings import Split
from training.measure import conformal, plots
from training.measure.calibration import reliability
from training.measure.metrics import agreement, error_by_band, intervals
from training.measure.score_bands import LABEL_EDGES, error_by_score_band, label_agreement

Vector = NDArray[np.float64]

WORST_SHOWN: Final = 10
METRICS: Final = ("srocc", "plcc", "krocc", "mae", "rmse", "mae_100", "rmse_100")


def calibrated(quality: Vector, scale: ScoreScale) -> Vector:
    """Return quality as the card calibrates it; the network's own where it does not."""
    return quality if scale.calibration is None else calibrate(quality, scale.calibration)


def measure(
    quality: Vector, target: Vector, scale: ScoreScale, served: Vector | None = None
) -> dict[str, Any]:
    """
    Measure predictions against ratings.

    Args:
        quality: Shape (N,), the network's, in [0, 1].
        target: Shape (N,), ratings in [0, 1].
        scale: The score scale of the card.
        served: Shape (N,), the served graph's quality, not calibrated.

    Returns:
        What `agreement` and `intervals` give of the network's own quality, and
        `calibration_error_100`, the mean size of its bias by bins of the score; with a calibration
        the same under `calibrated`; with an interval what
        `conformal.measure` gives under `interval`; with a served graph all of these under
        `served`, and by how much its scores differ.
    """
    found = _of_scores(quality, target)
    if scale.calibration is not None:
        found["calibrated"] = _of_scores(calibrated(quality, scale), target)
    if scale.intervals is not None:
        found["interval"] = conformal.measure(
            100 * calibrated(quality, scale), 100 * target, scale.intervals
        )
    if served is not None:
        found["served"] = _of_scores(calibrated(served, scale), target)
        difference = 100 * np.abs(calibrated(served, scale) - calibrated(quality, scale))
        found["served"]["points_off_median"] = float(np.median(difference))
        found["served"]["points_off_p99"] = float(np.quantile(difference, 0.99))
        found["served"]["srocc_off"] = found["served"]["srocc"] - found["srocc"]
        if scale.intervals is not None:
            found["served"]["interval"] = conformal.measure(
                100 * calibrated(served, scale), 100 * target, scale.intervals
            )
    return found


def numbers(found: dict[str, Any]) -> dict[str, float]:
    """Return the single numbers of what was measured, for MLflow; parts have their name before."""
    parts = {f"{part}_": found.get(part, {}) for part in ("calibrated", "interval")}
    return {
        f"{prefix}{name}": value
        for prefix, part in {"": found, **parts}.items()
        for name, value in part.items()
        if isinstance(value, float)
    }


def report(
    found: dict[str, Any], quality: Vector, split: Split, scale: ScoreScale, title: str, out: Path
) -> None:
    """
    Print what was measured, and write it with its plots.

    Args:
        found: Of `measure`, and what it is of.
        quality: Shape (N,), the network's.
        split: The pictures.
        scale: The score scale of the card.
        title: Title of the plots.
        out: File of the figures; the plots and the worst ten are written beside it.
    """
    scored, target = calibrated(quality, scale), split.target
    by_score = error_by_score_band(100 * scored, 100 * target, LABEL_EDGES)
    labels = label_agreement(100 * scored, 100 * target)
    by_rating = error_by_band(scored, target)
    bands = {"by_score": by_score, "by_rating": by_rating, "labels": labels}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**found, **bands}, indent=2, sort_keys=True) + "\n")
    plots.predicted_against_rated(scored, target, title).savefig(out.with_suffix(".png"), dpi=120)
    rows = {"raw": reliability(quality, target)}
    if scale.calibration is not None:
        rows["calibrated"] = reliability(scored, target)
    plots.reliability(rows).savefig(out.with_suffix(".reliability.svg"))
    worst = _worst(scored, split)
    worst.to_csv(out.with_suffix(".worst.csv"), index=False)

    print(_metrics_table(found))
    print(f"{'n':<21} {len(split):8d}")
    print("\nerror by band of the score, in points:")
    print(_table(pd.DataFrame(by_score)))
    print("\nerror by band of the rating, in points:")
    print(_table(pd.DataFrame(by_rating)))
    print("\nthe label of the score and the label that the rating would get:")
    print(pd.DataFrame(labels).to_string(index=False, float_format="{:.2f}".format))
    if "interval" in found:
        print(_interval_text(found["interval"], scale))
    print(f"\nthe {len(worst)} pictures with the largest error:")
    print(_table(worst))
    print(f"\nwritten: {out}, and beside it {out.stem}.png, .reliability.svg, .worst.csv")


def _of_scores(quality: Vector, target: Vector) -> dict[str, Any]:
    rows = reliability(quality, target)
    bias = np.average([abs(row["bias_100"]) for row in rows], weights=[row["n"] for row in rows])
    return {
        **agreement(quality, target),
        **intervals(quality, target),
        "calibration_error_100": float(bias),
    }


def _metrics_table(found: dict[str, Any]) -> str:
    kinds = {"raw": found} | {k: found[k] for k in ("calibrated", "served") if k in found}
    lines = [" " * 22 + "".join(f"{kind:<28}" for kind in kinds)]
    for name in (*METRICS, "calibration_error_100"):
        cells = []
        for numbers in kinds.values():
            ends = numbers.get(f"{name}_ci95")
            text = f"{numbers[name]:8.4f}" if name in numbers else ""
            cells.append(text + (f" [{ends[0]:.4f}, {ends[1]:.4f}]" if ends else ""))
        lines.append(f"{name:<21} " + "".join(f"{cell:<28}" for cell in cells))
    if "served" in found:
        told = found["served"]
        lines.append(
            f"served against torch: SROCC {told['srocc_off']:+.4f}, scores off by "
            f"{told['points_off_median']:.2f} points at the median, "
            f"{told['points_off_p99']:.2f} at the 99th percentile"
        )
    return "\n".join(line.rstrip() for line in lines)


def _interval_text(measured: dict[str, Any], scale: ScoreScale) -> str:
    assert scale.intervals is not None  # it was measured
    return (
        f"\ninterval: {100 * measured['coverage']:.1f} % of the ratings lie in it (promised: "
        f"{100 * scale.intervals['coverage']:g} %), mean width "
        f"{measured['mean_width']:.1f} points\n"
        + pd.DataFrame(measured["bands"]).to_string(index=False, float_format="{:.3f}".format)
    )


def _worst(scored: Vector, split: Split) -> pd.DataFrame:
    error = 100 * (scored - split.target)
    order = np.argsort(-np.abs(error))[:WORST_SHOWN]
    return pd.DataFrame(
        {
            "image_name": [split.names[i] for i in order],
            "score": 100 * scored[order],
            "rated": 100 * split.target[order],
            "error": error[order],
        }
    )


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.1f}".format)
