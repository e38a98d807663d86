"""Every accepted oddity becomes the network's input that is on record."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.golden_inputs import ACCEPTED, FILE, summary

RECORD = json.loads(FILE.read_text())


def test_the_record_holds_every_accepted_oddity() -> None:
    """An oddity that is added to the table gets its golden input."""
    assert list(RECORD) == ACCEPTED


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_oddity_gives_its_golden_input(name: str) -> None:
    """Size and colours of the quarters are as recorded, to half a level."""
    got = summary(name)
    assert got["size"] == RECORD[name]["size"]
    np.testing.assert_allclose(
        got["quarters"],
        RECORD[name]["quarters"],
        atol=0.5,
        err_msg="The network's input has changed: scores will move. Say so in the CHANGELOG, "
        "train again, and only then: python -m tests.golden_inputs",
    )
