"""How long a request has waited, whatever its header says and whoever sets a clock."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iqa.request.queue_time import CLOCK_ERROR_S, IMPLAUSIBLE_S, Clock, waited_s

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize("header", ["1799999998.500", "t=1799999998.5"])
def test_the_header_is_seconds_since_1970(header: str) -> None:
    """As nginx writes it, and with the prefix that others put before it."""
    assert waited_s(header, NOW_S) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "header",
    ["", "t=", "now", "1799999998.5,1799999999", "nan", "t=inf", "-inf", "0", "1799999998500",
     "1799999998500000", "1800000001", "1e400", "0x6b49d200", "1799999998.5 s"],
)  # fmt: skip
def test_a_header_that_says_nothing_is_ignored(header: str) -> None:
    """No number, another unit, the future, 1970: as if there were none."""
    assert waited_s(header, NOW_S) is None


def test_a_moment_of_the_future_is_no_wait() -> None:
    """Clocks are steered and headers rounded."""
    assert waited_s(str(NOW_S + CLOCK_ERROR_S / 2), NOW_S) == 0.0


@given(header=st.text(max_size=40) | st.floats().map(str))
def test_any_header_gives_a_plausible_wait_or_none(header: str) -> None:
    """Whatever a client sends, nothing is raised."""
    waited = waited_s(header, NOW_S)
    assert waited is None or 0.0 <= waited < IMPLAUSIBLE_S


@pytest.mark.parametrize("step_s", [-3000.0, -20.0, 20.0, 3000.0])
def test_a_clock_that_is_set_lets_no_request_expire(
    monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """Neither those under way nor those after it, whether the sender's clock was set too or not."""
    clock = Clock()
    real_s = time.time
    before = str(real_s())
    monkeypatch.setattr(time, "time", lambda: real_s() + step_s)
    for started in (before, str(real_s()), str(real_s() + step_s)):
        waited = waited_s(started, clock.now_s())
        assert waited is None or waited < 1.0


def test_a_clock_that_nobody_sets_is_the_systems() -> None:
    """A second of waiting is a second."""
    clock, begun_s = Clock(), time.time()
    waited = waited_s(str(begun_s - 7.0), clock.now_s())
    assert waited is not None
    assert 7.0 - 0.001 <= waited <= 7.0 + time.time() - begun_s + 0.001
