"""The shipped model's causes and warnings over HTTP: on damage, and on what is no photograph."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from console.paths import ROOT
from tests.server import RunningServer
from training.data import unusual_photographs
from training.data.distortions import DISTORTIONS
from training.data.graphics import for_testing, for_training

GOLDEN = ROOT / "handler" / "golden"
# Levels that nobody overlooks.
DAMAGE = [("gaussian_blur", "blur"), ("white_noise", "noise"), ("jpeg", "compression")]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("picture", ["parrots.jpg", "lighthouse.jpg"])
@pytest.mark.parametrize(("kind", "cause"), DAMAGE)
def test_the_main_cause_is_the_damage_that_was_done(
    server: RunningServer, picture: str, kind: str, cause: str
) -> None:
    """Level 4 of blur, noise or JPEG is named, and grows with the level."""
    image = Image.open(GOLDEN / picture).convert("RGB")
    rng = np.random.default_rng(0)
    mild, heavy = (server.score(_png(DISTORTIONS[kind](image, n, rng))) for n in (1, 4))
    assert heavy["main_cause"] == cause, heavy["causes"]
    assert heavy["causes"][cause] > max(30, mild["causes"][cause])


@pytest.mark.parametrize("picture", ["parrots.jpg", "lighthouse.jpg"])
def test_a_good_photograph_has_no_cause_and_is_one(server: RunningServer, picture: str) -> None:
    """No cause over 30, no main cause, no warning."""
    reply = server.score((GOLDEN / picture).read_bytes())
    assert max(reply["causes"].values()) <= 30 and reply["main_cause"] is None, reply
    assert "not_a_photograph" not in reply["warnings"] and reply["familiarity"] > 0.5


@pytest.mark.parametrize("kind", ["text", "window", "terminal", "chart"])
def test_a_graphic_is_scored_with_a_warning(server: RunningServer, kind: str) -> None:
    """A page, a window, a terminal, a chart: the score is given, and the warning with it."""
    draw = {**for_training.KINDS, **for_testing.KINDS}[kind]
    reply = server.score(_png(draw(np.random.default_rng(99))))
    assert "not_a_photograph" in reply["warnings"], reply
    assert 0 <= reply["score"] <= 100


@pytest.mark.parametrize("kind", ["galaxy", "ultrasound"])
def test_an_unusual_photograph_is_scored_with_a_warning(server: RunningServer, kind: str) -> None:
    """A galaxy, an ultrasound picture: the score is given, with a warning of its own."""
    image = Image.open(GOLDEN / "parrots.jpg").convert("RGB")
    reply = server.score(
        _png(unusual_photographs.FOR_TESTING[kind](image, np.random.default_rng(99)))
    )
    assert "unlike_training" in reply["warnings"], reply
    assert "not_a_photograph" not in reply["warnings"] and reply["familiarity"] < 0.5
    assert 0 <= reply["score"] <= 100
