"""Drift over HTTP: what a scored picture adds to the page that Prometheus scrapes."""

from __future__ import annotations

import json
import re

from iqa.drift.reference import Reference

from console.paths import ROOT
from tests.deploying import wait_for
from tests.server import RunningServer

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
CARD = ROOT / "training" / "pretrained" / "model.json"


def counted(page: str, name: str) -> dict[tuple[str, str], float]:
    """Return a metric's values on a page, by measure and bin."""
    lines = re.findall(rf'^{name}{{measure="([^"]+)",(?:bin="([^"]+)",)?.*}} (\S+)$', page, re.M)
    return {(measure, label): float(value) for measure, label, value in lines}


def test_a_scored_picture_is_counted_in_one_bin_of_each_measure(server: RunningServer) -> None:
    """And beside the counts stand the card's reference and its limits."""
    reference = Reference.of_card(json.loads(CARD.read_text()))
    assert reference is not None
    before = counted(server.metrics(), "iqa_drift_pictures_total")
    server.score(PARROTS.read_bytes())

    def is_counted() -> bool:  # what was sent before may come late as well
        now = counted(server.metrics(), "iqa_drift_pictures_total")
        risen = {key for key, value in now.items() if value > before.get(key, 0)}
        return {name for name, _ in risen} >= {*reference.spreads} and ("format", "JPEG") in risen

    wait_for(is_counted, "the picture in each measure")
    page = server.metrics()
    after = counted(page, "iqa_drift_pictures_total")
    known = counted(page, "iqa_drift_reference_pictures")
    limits = counted(page, "iqa_drift_limit")
    for name, spread in reference.spreads.items():
        rise = [after[name, label] - before[name, label] for label in spread.labels]
        assert sum(rise) >= 1 and min(rise) >= 0, (name, rise)
        assert [known[name, label] for label in spread.labels] == list(spread.counts), name
        assert limits.get((name, "")) == spread.limit
