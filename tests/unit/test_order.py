"""Files with servers and files that compute take turns, and none is lost."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest

from console.paths import ROOT
from tests.order import by_file, in_turn

TESTS = ROOT / "tests"
SERVED = [TESTS / "e2e" / f"test_{n}.py" for n in range(4)]
COMPUTED = [TESTS / "test_a.py", *(TESTS / "unit" / f"test_{n}.py" for n in range(20))]


def test_servers_are_spread_and_the_end_is_computed() -> None:
    """Each kind in its own order, the first two at once, no two servers after each other."""
    order = in_turn([*SERVED, *COMPUTED])
    assert [file for file in order if file in SERVED] == SERVED
    assert [file for file in order if file in COMPUTED] == COMPUTED
    assert not [pair for pair in pairwise(order) if set(pair) <= set(SERVED)]
    assert order[:2] == [SERVED[0], COMPUTED[0]]
    assert order.index(SERVED[-1]) < len(order) - 4


def test_no_test_is_lost() -> None:
    """Pytest puts tests that share a costly fixture side by side, and so parts those of a file."""
    one, other = COMPUTED[:2]
    pairs = ((one, "a"), (SERVED[0], "b"), (one, "c"), (other, "d"), (SERVED[0], "e"))
    items = [cast("pytest.Item", SimpleNamespace(path=path, name=name)) for path, name in pairs]
    assert [item.name for item in by_file(items)] == ["a", "c", "b", "e", "d"]


def test_one_kind_alone_stays_as_it_is() -> None:
    """As when somebody runs a folder."""
    assert in_turn(SERVED) == SERVED
    assert in_turn(COMPUTED) == COMPUTED
