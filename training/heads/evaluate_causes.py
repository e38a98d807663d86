"""How right the causes are, on distortions of known kind and level that training left out."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from iqa.tasks.heads import Causes
from matplotlib.figure import Figure
from scipy import stats

from training.data.distortions import LEVELS
from training.heads.cause_names import CAUSE_OF_KIND
from training.heads.samples import CAUSE_OF_DISTORTION, Samples

FALSE_ALARM: Final = 30
"""Points: an original with more than this in any cause is a false alarm."""
COUNTED_FROM: Final = 2
"""Level; the first is hardly seen."""


def judge(causes: Causes, samples: Samples) -> dict[str, Any]:
    """
    Measure causes on distorted pictures.

    Args:
        causes: The head.
        samples: By `training.heads.samples.distorted`.

    Returns:
        `pictures`; of the originals `false_alarms` and `originals_with_a_main_cause`;
        `right_main_cause` from level 2 on, over all kinds whose cause the head has, None where
        there is none; by kind under `distortions`: its `cause`, `rank` (Spearman's, of all pictures
        and levels, the originals are level 0), its `rank_within` (the mean of Spearman's of each
        picture's own levels), and by level `mean_points` and `right_main_cause`; under `causes`
        the most points of an original, `highest_on_originals`, and the ranks of all its kinds
        together, where it has any.
    """
    inputs = causes.network.inputs_of(samples.features, samples.statistics)
    replies = [causes.reply(one) for one in inputs]
    source_of = np.array([name.rsplit("|", 1)[0] for name in samples.names])
    done = [name.rsplit("|", 1)[1].split() for name in samples.names]
    kind_of, level_of = [kind for kind, _ in done], np.array([int(level) for _, level in done])
    points = {c: np.array([r["causes"][c] for r in replies]) for c in replies[0]["causes"]}
    main = np.array([reply["main_cause"] or "" for reply in replies])
    is_original = level_of == 0
    rows: dict[str, Any] = {}
    right: list[np.ndarray] = []
    for kind, told in CAUSE_OF_DISTORTION.items():
        cause = CAUSE_OF_KIND[told]
        if cause not in points:
            continue
        mine = np.array([name == kind for name in kind_of])
        right.append(main[mine & (level_of >= COUNTED_FROM)] == cause)
        at = [mine & (level_of == level) for level in LEVELS]
        rows[kind] = {
            "cause": cause,
            "rank": _rank(level_of, points[cause], mine | is_original),
            "rank_within": _rank_within(source_of, level_of, points[cause], mine | is_original),
            "mean_points": [float(points[cause][level].mean()) for level in at],
            "right_main_cause": [float((main[level] == cause).mean()) for level in at],
        }

    def ranks_of(cause: str) -> dict[str, float]:
        kinds = [kind for kind, row in rows.items() if row["cause"] == cause]
        if not kinds:  # contrast and colour: no distortion is of them
            return {}
        chosen = is_original | np.isin(kind_of, kinds)
        return {
            "rank": _rank(level_of, points[cause], chosen),
            "rank_within": float(np.mean([rows[kind]["rank_within"] for kind in kinds])),
        }

    highest = np.max([points[cause][is_original] for cause in points], axis=0)
    return {
        "pictures": int(is_original.sum()),
        "false_alarms": int((highest > FALSE_ALARM).sum()),
        "originals_with_a_main_cause": int((main[is_original] != "").sum()),
        "right_main_cause": float(np.concatenate(right).mean()) if right else None,
        "causes": {
            cause: {
                **ranks_of(cause),
                "highest_on_originals": int(points[cause][is_original].max()),
            }
            for cause in points
        },
        "distortions": rows,
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the table of a report, for a document."""
    lines = [
        f"| damage | cause | {' | '.join(map(str, LEVELS))} | rank | within a picture |",
        "|---" * (len(LEVELS) + 4) + "|",
    ]
    for kind, row in report["distortions"].items():
        cells = " | ".join(
            f"{mean:.0f} ({100 * right:.0f} %)"
            for mean, right in zip(row["mean_points"], row["right_main_cause"], strict=True)
        )
        ranks = f"{row['rank']:.3f} | {row['rank_within']:.3f}"
        lines.append(f"| {kind.replace('_', ' ')} | {row['cause']} | {cells} | {ranks} |")
    return "\n".join(lines) + "\n"


def points_by_level(report: dict[str, Any]) -> Figure:
    """Plot the mean points of each kind's own cause by level."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for kind, row in report["distortions"].items():
        axes.plot(LEVELS, row["mean_points"], "o-", markersize=4, label=kind.replace("_", " "))
    axes.axhline(FALSE_ALARM, color="0.6", linewidth=1)
    axes.set(ylim=(0, 100), xlabel="level", ylabel="points of its cause", xticks=LEVELS)
    axes.set_title(f"{report['pictures']} pictures that training never saw")
    axes.grid(alpha=0.3)
    if report["distortions"]:
        axes.legend(ncols=2, fontsize="small")
    return figure


def _rank_within(
    source: np.ndarray, level: np.ndarray, points: np.ndarray, chosen: np.ndarray
) -> float:
    """Return the mean rank agreement of each picture's levels; one without any order counts 0."""
    ranks = [
        _rank(level, points, chosen & (source == name))
        if np.ptp(points[chosen & (source == name)]) > 0
        else 0.0
        for name in np.unique(source)
    ]
    return float(np.mean(ranks))


def _rank(level: np.ndarray, points: np.ndarray, chosen: np.ndarray) -> float:
    return float(stats.spearmanr(level[chosen], points[chosen]).statistic)
