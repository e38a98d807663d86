"""The reference for drift: shares of validation scores, and whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from iqa.network import checkpoint
from iqa.tasks.score_deciles import TENTHS

from console.paths import ROOT
from scripts.score_reference import RULES, identity, main, rules, shares_of
from training.data.ratings import Split
from training.measure import predict


def test_no_tenth_has_a_share_of_nothing() -> None:
    """The index takes logarithms of shares; what never occurred counts as half a picture."""
    shares = shares_of([75.0] * 6 + [100.0] * 4)
    assert list(shares) == list(TENTHS)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["70-80"] == pytest.approx(6.5 / 15)
    assert shares["0-10"] == pytest.approx(0.5 / 15)


def test_the_rules_hold_the_shares_by_their_tenth() -> None:
    """One constant for each tenth, under the name that the index is computed from."""
    text = rules(shares_of([75.0] * 10), "10 scores")
    assert text.startswith("# Shares of 10 scores.\n")
    (group,) = yaml.safe_load(text)["groups"]
    assert {rule["record"] for rule in group["rules"]} == {"iqa:score_reference:share"}
    told = {rule["labels"]["tenth"]: rule["expr"] for rule in group["rules"]}
    assert set(told) == set(TENTHS)
    assert told["70-80"] == "vector(0.70000)"


def test_the_shipped_reference_is_of_the_shipped_model() -> None:
    """Other weights or another calibration give other scores: then it has to be made anew."""
    card = json.loads((ROOT / "training" / "pretrained" / "model.json").read_text())
    assert identity(card) in RULES.read_text().splitlines()[0]


def test_the_pictures_are_scored_at_the_input_size_of_the_model(
    untrained: Path, rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its card says, and as they are served."""
    seen: list[Split] = []

    def scored(_: object, split: Split, **__: object) -> np.ndarray:
        seen.append(split)
        return np.full(len(split), 0.5)

    monkeypatch.setattr(predict, "predict", scored)
    options = ["--model", str(untrained), "--dataset", "koniq10k", "--data-dir", str(rated)]
    assert main([*options, "--out", str(tmp_path / "rules.yml")]) == 0
    assert seen[0].policy == checkpoint.policy_of(checkpoint.load_card(untrained))
