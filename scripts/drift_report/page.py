"""The page: one HTML file, its plots inside it."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from scripts.drift_report.windows import Report, details, verdict_in_words

SHOWN_OVER: Final = 3.0
"""Times the limit at which the colour of a window ends."""
COLUMNS: Final = 4
MAX_TICKS: Final = 12
NO_METADATA: Final = ("Date", "Creator", "Format", "Type")

STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h2 { margin-top: 2.5rem; }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; border-left: .4rem solid #2a7f3f;
  background: #eef7f0; }
.verdict.pictures, .verdict.model { border-color: #b3261e; background: #fdf0ef; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } tr.moved { font-weight: 600; }
svg { max-width: 100%; height: auto; }
"""


def page(reports: Sequence[Report], source: str, made_at: str) -> str:
    """
    Return the page.

    Args:
        reports: Of each version, the newest last.
        source: Where traffic and reference come from, for its head.
        made_at: When it was made.
    """
    parts = [_section(report) for report in reversed(reports)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Has the world moved</title><style>{STYLE}</style></head><body>"
        f"<h1>Has the world moved</h1><p>{html.escape(source)}. Made {html.escape(made_at)}.</p>"
        f"{''.join(parts)}{_how_to_read()}</body></html>\n"
    )


def _section(report: Report) -> str:
    newest = report.newest
    points = "".join(f"<li>{html.escape(one)}</li>" for one in details(report))
    return (
        f"<h2>{html.escape(report.traffic.version)}</h2>"
        f'<p class="verdict {newest.verdict}">{html.escape(verdict_in_words(report))}</p>'
        f"<ul>{points}</ul>"
        f"<h3>Over time</h3>{_svg(over_time(report))}"
        f"<h3>The newest window and the reference</h3>{_svg(spreads(report))}{_table(report)}"
    )


def _table(report: Report) -> str:
    rows = []
    for name in report.newest.counts:
        limit = report.reference.spreads[name].limit
        over = report.newest.over.get(name)
        told = "-" if over is None else f"{over:.2f}"
        moved = ' class="moved"' if name in report.newest.moved else ""
        rows.append(
            f"<tr{moved}><td>{name}</td><td class=number>{told}</td>"
            f"<td>{'not tested' if limit is None else 'moved' if moved else ''}</td></tr>"
        )
    return (
        "<table><tr><th>measure</th><th>distance by limit</th><th></th></tr>"
        f"{''.join(rows)}</table>"
    )


def _how_to_read() -> str:
    return (
        "<h2>How to read it</h2><p>Each measure is compared by itself: chi-squared between the "
        "window and the reference, over the ranges shown. Over 1, the two differ by more than "
        "chance explains. Brightness, shadows, contrast, sharpness, detail, noise, gradation, "
        "megapixels, aspect and format are measured without the network: if one of them moved, the "
        "pictures did. If only features or the score moved, the model did. Pictures that come in "
        "batches, such as one person's album, are no independent ones: look at several windows."
        "</p>"
    )


def over_time(report: Report) -> Figure:
    """Draw how far each measure is from the reference in each window, as times of its limit."""
    names = list(report.newest.counts)
    values = np.array(
        [[compared.over.get(name, np.nan) for _, compared in report.windows] for name in names]
    )
    figure = Figure(figsize=(10, 0.28 * len(names) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(
        np.minimum(values, SHOWN_OVER), aspect="auto", cmap="RdBu_r", interpolation="nearest",
        norm=TwoSlopeNorm(1.0, 0.0, SHOWN_OVER),
    )  # fmt: skip
    axes.set_facecolor("#dddddd")  # not tested
    axes.set_yticks(range(len(names)), names, fontsize=9)
    step = -(-len(report.windows) // MAX_TICKS)
    places = range(0, len(report.windows), step)
    axes.set_xticks(places, [report.windows[place][0][5:] for place in places], fontsize=8)
    axes.set_xlabel("end of the window, UTC")
    figure.colorbar(shown, ax=axes, label="times the limit (grey: not tested)", ticks=[0, 1, 2, 3])
    return figure


def spreads(report: Report) -> Figure:
    """Draw the share of each range, in the newest window and in the reference."""
    names = list(report.newest.counts)
    n_rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(12, 2.3 * n_rows), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(n_rows, COLUMNS, place + 1)
        spread = report.reference.spreads[name]
        then = 100 * np.asarray(spread.counts) / report.reference.pictures
        now = 100 * np.asarray(report.newest.counts[name]) / max(1, report.newest.pictures)
        ends = np.arange(len(then))
        axes.bar(ends - 0.2, then, 0.4, color="#9aa5b1", label="reference")
        axes.bar(ends + 0.2, now, 0.4, color="#1f6feb", label="newest window")
        axes.set_xticks(
            ends, [_short(label) for label in spread.labels], fontsize=6, rotation=40,
            ha="right", rotation_mode="anchor",
        )  # fmt: skip
        axes.tick_params(axis="y", labelsize=7)
        is_moved = name in report.newest.moved
        axes.set_title(
            f"{name}: moved" if is_moved else name,
            fontsize=10, color="#b3261e" if is_moved else "black",
        )  # fmt: skip
        if place % COLUMNS == 0:
            axes.set_ylabel("% of pictures", fontsize=8)
        if place == 0:
            axes.legend(fontsize=7)
    return figure


def _short(label: str) -> str:
    """Return a label with its numbers at three digits."""
    return " ".join(_three_digits(word) for word in label.split()).replace(" to ", "\u2013")


def _three_digits(word: str) -> str:
    try:
        return f"{float(word):.3g}"
    except ValueError:
        return {"below": "<", "from": "≥"}.get(word, word)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(NO_METADATA))
    text = buffer.getvalue()
    return text[text.index("<svg") :]
