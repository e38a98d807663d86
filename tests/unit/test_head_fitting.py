"""How the heads' small networks are fitted, blended, and told what not to look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from iqa.imaging.statistics import N_STATISTICS
from iqa.tasks.heads import Causes, SmallNetwork
from PIL import Image

from tests.images import photograph
from training.heads import evaluate_causes, fit_causes, network, samples


def test_a_head_that_is_fitted_learns_and_is_the_same_again() -> None:
    """A line of two inputs, with targets that are not all known; same seed, same network."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(600, 20)).astype(np.float32)
    targets = np.stack([50 + 15 * inputs[:, 0], 50 - 15 * inputs[:, 1]], axis=1)
    targets[::3, 1] = np.nan
    fits = [
        network.fit(
            inputs, targets, np.ones(600, np.float32), loss="huber", hidden=32, epochs=150, seed=1
        )
        for _ in range(2)
    ]
    assert np.corrcoef(fits[0](inputs)[:, 0], targets[:, 0])[0, 1] > 0.8
    known = ~np.isnan(targets[:, 1])
    assert np.corrcoef(fits[0](inputs)[known, 1], targets[known, 1])[0, 1] > 0.8
    assert np.array_equal(fits[0].hidden, fits[1].hidden)
    stored = network.in_half_precision(fits[0])
    assert np.abs(stored(inputs) - fits[0](inputs)).max() < 0.5


def test_an_input_that_is_not_to_count_changes_nothing() -> None:
    """What a head is told not to look at may be anything later, in training it was not used."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 6)).astype(np.float32)
    is_seen = np.array([True, True, False, True, False, True])
    targets = 50 + 10 * inputs[:, :1]
    weights = np.ones(300, np.float32)
    fitted = network.fit(
        inputs, targets, weights, loss="huber", hidden=8, epochs=20, is_seen=is_seen
    )
    alone = network.fit(inputs[:, is_seen], targets, weights, loss="huber", hidden=8, epochs=20)
    assert fitted(inputs) == pytest.approx(alone(inputs[:, is_seen]), abs=1e-3)
    changed = np.where(is_seen, inputs, 1e6).astype(np.float32)
    assert np.array_equal(fitted(changed), fitted(inputs))


def test_networks_that_are_blended_answer_with_the_weighted_sum() -> None:
    """As one network, of as many units as all together."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 5)).astype(np.float32)
    weights = np.ones(200, np.float32)
    a, b = (
        network.fit(
            inputs, 50 + 10 * inputs[:, i : i + 2], weights, loss="huber", hidden=h, epochs=5
        )
        for i, h in ((0, 4), (2, 6))
    )
    both = network.blended([(0.25, a), (0.75, b)])
    assert both.hidden.shape == (5, 10)
    assert both(inputs) == pytest.approx(0.25 * a(inputs) + 0.75 * b(inputs), abs=1e-3)


def test_causes_are_of_two_networks_that_see_different_features() -> None:
    """One does not look at the maxima, the other one not at the last means."""
    size = 13 + 6 + N_STATISTICS
    rng = np.random.default_rng(0)
    n = 40
    made = samples.Samples(
        names=[f"{i}|original" for i in range(n)],
        features=rng.normal(size=(n, 19)).astype(np.float32),
        statistics=rng.normal(size=(n, N_STATISTICS)).astype(np.float32),
        strengths=rng.uniform(0, 5, (n, len(samples.KINDS))).astype(np.float32),
    )
    told = fit_causes.fit(made, ("blur",), 0, [2, 2, 2, 2, 5]).network
    content, sharpness = np.split(np.abs(told.hidden), [fit_causes.HIDDEN_OF_CONTENT], axis=1)
    assert len(told.mean) == size and sharpness.shape[1] == fit_causes.HIDDEN_OF_SHARPNESS
    assert np.array_equal(np.flatnonzero(content.max(axis=1) == 0), np.arange(13, 19))
    assert np.array_equal(np.flatnonzero(sharpness.max(axis=1) == 0), np.arange(8, 13))


def at_every_level() -> samples.Samples:
    """Return two pictures at each level of each distortion, whose feature is the level."""
    image = Image.fromarray(photograph(64, 48))
    names = [
        f"{number}|{done}"
        for number in range(2)
        for done, _, _ in samples.distorted(image, np.random.default_rng(number))
    ]
    return samples.Samples(
        names=names,
        features=np.array([[int(name.split()[-1])] for name in names], np.float32),
        statistics=np.zeros((len(names), N_STATISTICS), np.float32),
        strengths=np.zeros((len(names), len(samples.KINDS)), np.float32),
    )


@pytest.mark.parametrize(("cause", "right", "kinds"), [("blur", 1.0, 3), ("contrast", None, 0)])
def test_a_head_of_one_cause_is_judged(
    cause: str, right: float | None, kinds: int, tmp_path: Path
) -> None:
    """By the distortions of its cause; where there are none, such figures are left out."""
    hidden = np.eye(1 + N_STATISTICS, 1, dtype=np.float32)
    ten_a_level = SmallNetwork(
        mean=np.zeros(len(hidden), np.float32), scale=np.ones(len(hidden), np.float32),
        hidden=hidden, hidden_bias=np.zeros(1, np.float32),
        outputs=np.array([[10]], np.float32), outputs_bias=np.zeros(1, np.float32),
    )  # fmt: skip
    head = Causes(network=ten_a_level, kinds=(cause,), floor=20, lead=1.2)
    report = evaluate_causes.judge(head, at_every_level())
    assert report["pictures"] == 2
    assert report["false_alarms"] == report["originals_with_a_main_cause"] == 0
    assert report["right_main_cause"] == right
    ranks = {"rank": 1.0, "rank_within": 1.0} if kinds else {}
    assert report["causes"] == {cause: {**ranks, "highest_on_originals": 0}}
    assert len(report["distortions"]) == kinds
    fit_causes._write({**report, "with_text": report}, tmp_path / "causes.json")
    assert json.loads((tmp_path / "causes.json").read_text())["causes"] == report["causes"]
