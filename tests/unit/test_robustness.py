"""The sums over made-up scores: pairs counted by hand, differences with their sign."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from iqa.imaging.sniff import SUFFIXES

from training.data.photographs import SHIPPED_SCENES, read_pictures
from training.experiments.robustness_table import markdown, summary
from training.experiments.variants import CHANGES, KINDS, PictureScores
from training.measure import plots
from training.measure.calibration import reliability


def scores_of(levels: list[float], **changes: float) -> PictureScores:
    """Return one picture's scores, the same under each distortion."""
    unchanged = dict.fromkeys(CHANGES, levels[0])
    return PictureScores(levels=dict.fromkeys(KINDS, levels), changes={**unchanged, **changes})


def test_all_15_pairs_of_a_picture_count() -> None:
    """A last level that is 0.5 above the one before it: 14 of 15 ordered, all within 1 point."""
    row = summary({"a": scores_of([80, 70, 60, 50, 40, 40.5])}, 1.0)["distortions"]["jpeg"]
    assert (row["pairs"], row["ordered"]) == (15, pytest.approx(14 / 15))
    assert row["ordered_within_tolerance"] == 1.0
    assert (row["largest_rise"], row["largest_rise_in"]) == (0.5, "a, 4 to 5")


def test_a_score_that_never_moves_is_not_ordered() -> None:
    """A constant model gets nothing for it in the strict share."""
    row = summary({"a": scores_of([50] * 6)})["distortions"]["jpeg"]
    assert (row["ordered"], row["ordered_within_tolerance"]) == (0.0, 1.0)


def test_a_score_that_rises_with_every_level_is_never_ordered() -> None:
    """The worst pair is the original against the last level."""
    row = summary({"a": scores_of([10, 20, 30, 40, 50, 60])})["distortions"]["jpeg"]
    assert (row["ordered"], row["ordered_within_tolerance"]) == (0.0, 0.0)
    assert row["largest_rise_in"] == "a, 0 to 5"


def test_means_are_over_pictures_and_differences_keep_their_sign() -> None:
    """Plus 1 and minus 3 are minus 1 on average, 2 in size, 3 at most, in the second picture."""
    report = summary(
        {
            "a": scores_of([80, 70, 60, 50, 40, 30], mirrored=81),
            "b": scores_of([60, 50, 40, 30, 20, 10], mirrored=57),
        }
    )
    assert report["distortions"]["jpeg"]["mean_score"] == [70, 60, 50, 40, 30, 20]
    assert report["changes"]["mirrored"] == {
        "mean_difference": -1.0, "mean_absolute_difference": 2.0,
        "max_absolute_difference": 3.0, "max_in": "b",
    }  # fmt: skip


def test_the_table_has_a_row_for_each_distortion_and_change() -> None:
    """Every row of both tables has as many cells as its head."""
    text = markdown(summary({"a": scores_of([80, 70, 60, 50, 40, 30])}))
    first, second = (part.splitlines() for part in text.strip().split("\n\n"))
    assert (len(first), len(second)) == (2 + len(KINDS), 2 + len(CHANGES))
    for table in (first, second):
        assert len({line.count("|") for line in table}) == 1
    assert "| jpeg | 80.0 | 70.0 | 60.0 | 50.0 | 40.0 | 30.0 | 100.0 % " in text


def test_without_a_folder_shipped_photographs_are_read() -> None:
    """Nothing is downloaded: they come out of installed packages."""
    pictures = read_pictures(None)
    assert tuple(pictures) == SHIPPED_SCENES
    assert all(body[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0") for body in pictures.values())


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """Text beside pictures is ignored; text alone is no picture."""
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(FileNotFoundError, match=r"--pictures: expected a folder with \.jpg"):
        read_pictures(tmp_path)


def test_a_folder_s_pictures_may_be_of_any_format_that_is_decoded(tmp_path: Path) -> None:
    """By their endings, in any letter case."""
    names = {f"one{suffix}" for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))}
    for name in names:
        (tmp_path / name).touch()
    assert set(read_pictures(tmp_path)) == names


def test_the_plots_hold_a_line_for_each_name(tmp_path: Path) -> None:
    """Both figures can be written, and name what they show."""
    report = summary({"a": scores_of([80, 70, 60, 50, 40, 30])})
    means = {kind: row["mean_score"] for kind, row in report["distortions"].items()}
    quality = np.linspace(0.1, 0.9, 50)
    rows = {"raw": reliability(quality, quality**2), "calibrated": reliability(quality, quality)}
    for figure, names in (
        (plots.scores_by_level(means, "six"), [kind.replace("_", " ") for kind in KINDS]),
        (plots.reliability(rows), ["raw", "calibrated"]),
    ):
        figure.savefig(tmp_path / "plot.png")
        legend = figure.axes[0].get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == names
