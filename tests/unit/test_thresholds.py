"""Thresholds: the least cost, the promised rates on other pictures, and what a server takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iqa.tasks.accept_or_reject import DecisionThresholds
from ts.context import RequestProcessor

from iqa_handler import IQAHandler
from tests.images import encode, photograph
from tests.unit.test_handler import make_context
from training import threshold
from training.measure import threshold_errors
from training.measure.threshold_errors import Costs, Thresholds


def rated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and ratings with an error of 10 points, both on 0-100."""
    rng = np.random.default_rng(seed)
    ratings = rng.beta(4, 2.5, n) * 100
    return np.clip(ratings + rng.normal(0, 10, n), 0, 100), ratings


@pytest.mark.parametrize("review", [np.inf, 0.3])
def test_no_other_pair_of_thresholds_is_cheaper(review: float) -> None:
    """The chosen pair costs what the best of all pairs costs, tried one by one."""
    scores, ratings = rated(60)
    scores = np.round(scores)  # with ties
    is_good = ratings >= 60
    costs = Costs(false_accept=4, false_reject=1, review=review)
    found = threshold_errors.cheapest(costs)(scores, is_good)

    def cost(accept_at: float, reject_below: float) -> float:
        rates = threshold_errors.rates(
            Thresholds(accept_at=accept_at, reject_below=reject_below), scores, is_good
        )
        reviewed = 1 - rates["accepted"] - rates["rejected"]
        paid = 4 * rates["false_accept"] + rates["false_reject"]
        return float(paid + (reviewed * review if reviewed > 1e-9 else 0))

    cuts = [*np.unique(scores), 100.5]
    best = min(cost(high, low) for high in cuts for low in cuts if low <= high)
    assert cost(found.accept_at, found.reject_below) == pytest.approx(best)
    assert (found.reject_below < found.accept_at) == (review < 1)


@pytest.mark.parametrize(
    "choose",
    [threshold_errors.keeping(0.2),
     threshold_errors.cheapest(Costs(false_accept=5, false_reject=1)),
     threshold_errors.fixed(Thresholds(accept_at=55, reject_below=40))],
)  # fmt: skip
def test_the_promised_rates_hold_on_other_pictures(choose: threshold_errors.Chooser) -> None:
    """Chosen on 1000, within two points on 20,000 others, and inside a wider interval."""
    scores, ratings = rated(1000)
    found, promised = threshold_errors.expected(choose, scores, ratings >= 60)
    others, their_ratings = rated(20_000, seed=1)
    measured = threshold_errors.rates(found, others, their_ratings >= 60)
    for name in ("false_accept", "false_reject"):
        assert abs(promised[name]["value"] - measured[name]) < 0.02, name
        low, high = promised[name]["ci95"]
        assert low <= promised[name]["value"] <= high


def test_keeping_the_best_keeps_that_share() -> None:
    """A fifth of the pictures has at least the score."""
    scores, ratings = rated(1000)
    found = threshold_errors.keeping(0.2)(scores, ratings >= 60)
    assert np.mean(scores >= found.accept_at) == pytest.approx(0.2)


def test_the_command_reads_a_file_of_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CSV with score and mos is enough; the settings it prints are taken by a server."""
    scores, ratings = rated(200)
    rows = "\n".join(f"{s:.2f};{r / 20:.3f}" for s, r in zip(scores, ratings, strict=True))
    (tmp_path / "scored.csv").write_text(f"score;mos\n{rows}\n")
    status = threshold.main(
        ["--scores", str(tmp_path / "scored.csv"), "--mos-range", "0", "5", "--cost-false-accept",
         "5", "--cost-false-reject", "1", "--cost-review", "0.5", "--out", str(tmp_path / "t.json")]
    )  # fmt: skip
    assert status == 0
    document = json.loads((tmp_path / "t.json").read_text())
    printed = capsys.readouterr().out
    rows = printed.splitlines()
    lines = [row.split(": ") for row in rows if row.startswith(("  accept_at", "  reject_below"))]
    settings = {name.strip(): float(value) for name, value in lines}
    assert settings["accept_at"] == document["accept_at"] > document["reject_below"] > 0
    assert DecisionThresholds.of_settings(settings) is not None
    assert (tmp_path / "t.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "options",
    [[], ["--accept-at", "50", "--keep-best", "20%"], ["--cost-false-accept", "5"],
     ["--accept-at", "40", "--reject-below", "50"], ["--cost-false-accept", "0",
     "--cost-false-reject", "1"], ["--accept-at", "50", "--good-from", "200"]],
)  # fmt: skip
def test_what_cannot_be_decided_is_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rule, two rules, half a rule, ends the wrong way round, nothing good: one line says it."""
    rows = "\n".join(f"{i},{i}" for i in range(100))
    (tmp_path / "scored.csv").write_text(f"score,mos\n{rows}\n")
    out = ["--out", str(tmp_path / "t.json")]
    assert threshold.main(["--scores", str(tmp_path / "scored.csv"), *out, *options]) == 1
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep-best", "20%", "--reject-below", "30"], "--reject-below: expected it with"),
        (["--keep-best", "20%", "--cost-review", "3"], "--cost-review: expected it with --cost"),
        (["--accept-at", "50", "--cost-review", "3"], "--cost-review: expected it with --cost"),
        (["--cost-false-accept", "5", "--cost-false-reject", "1", "--reject-below", "30"],
         "--reject-below: expected it with --accept-at alone"),
        (["--accept-at", "50", "--limit", "3", "--split", "test"], "got it with --limit, --split."),
        (["--accept-at", "50", "--model", "m", "--check-split", "test"], "--check-split, --model."),
    ],
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another rule's option, and one of pictures where there are scores: said, not dropped."""
    rows = "\n".join(f"{i},{i}" for i in range(100))
    (tmp_path / "scored.csv").write_text(f"score,mos\n{rows}\n")
    out = ["--out", str(tmp_path / "t.json")]
    assert threshold.main(["--scores", str(tmp_path / "scored.csv"), *out, *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("scale", "words"), [(0.01, "0 to 0.99"), (2, "0 to 198"), (-1, "-99 ")])
def test_scores_of_another_scale_are_refused(
    scale: float, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server compares its thresholds with scores on 0-100."""
    rows = "\n".join(f"{scale * i:g},{i}" for i in range(100))
    (tmp_path / "scored.csv").write_text(f"score,mos\n{rows}\n")
    out = ["--out", str(tmp_path / "t.json")]
    options = ["--scores", str(tmp_path / "scored.csv"), *out, "--keep-best", "20%"]
    assert threshold.main(options) == 1
    assert f"--scores: expected scores on 0-100, got {words}" in capsys.readouterr().err


@pytest.mark.parametrize("good_from", [29, 57, 58])
def test_a_rating_at_the_floor_is_good(good_from: int, tmp_path: Path) -> None:
    """57 of 100, taken to [0, 1] and back, is 56.99..., and good from 57 on."""
    rows = "\n".join(f"{i},{i}" for i in range(101))
    (tmp_path / "scored.csv").write_text(f"score,mos\n{rows}\n")
    options = ["--scores", str(tmp_path / "scored.csv"), "--out", str(tmp_path / "t.json")]
    assert threshold.main([*options, "--accept-at", "50", "--good-from", str(good_from)]) == 0
    assert json.loads((tmp_path / "t.json").read_text())["n_good"] == 101 - good_from


@pytest.mark.parametrize(
    ("settings", "decisions"),
    [
        ({"accept_at": 60, "reject_below": 40.5}, ["reject", "review", "review", "accept"]),
        ({"accept_at": 60.0}, ["reject", "reject", "reject", "accept"]),
        ({}, [None] * 4),
    ],
)
def test_a_score_gets_the_decision_of_the_settings(
    settings: dict[str, Any], decisions: list[str | None]
) -> None:
    """From accept_at on it is accepted, below reject_below rejected; without either not decided."""
    found = DecisionThresholds.of_settings(settings)
    told = [
        None if found is None else found.reply({"score": score})["decision"]
        for score in (40.4999, 40.5, 59.9, 60.0)
    ]
    assert told == decisions
    assert found is None or found.reply({"label": "cat"}) == {}


@pytest.mark.parametrize(
    "settings",
    [{"reject_below": 40}, {"accept_at": 30, "reject_below": 40}, {"accept_at": "60"},
     {"accept_at": 101}, {"accept_at": True}, {"accept_at": float("nan")}],
)  # fmt: skip
def test_thresholds_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """Half of the pair, the wrong way round, no number: said at load."""
    with pytest.raises(ValueError, match="expected 0 <= reject_below <= accept_at <= 100"):
        DecisionThresholds.of_settings(settings)


@pytest.mark.parametrize("is_given", [True, False])
def test_the_handler_decides_where_its_settings_have_thresholds(
    untrained: Path, tmp_path: Path, is_given: bool
) -> None:
    """The reply has the decision of its score; without thresholds it has no such key."""
    folder = Path(shutil.copytree(untrained, tmp_path / "model"))
    provenance = {"model": {"name": "iqa", "version": "7"}}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    handler = IQAHandler()
    context = make_context(folder, {"accept_at": 100, "reject_below": 0.5} if is_given else None)
    handler.initialize(context)
    context.request_processor = [RequestProcessor({})]
    body = encode(photograph(160, 120), "JPEG")
    reply = json.loads(handler.handle([{"body": bytearray(body)}], context)[0])
    assert reply.get("decision") == ("review" if is_given else None)
    assert 0.5 <= reply["score"] < 100
