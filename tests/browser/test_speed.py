"""How long the page itself takes between a chosen picture and its score."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable

import pytest
from PIL import Image

from console.paths import ROOT
from tests.browser.watched import Watched, named

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
BOUND_MS = 150.0
ROUNDS = 12
WATCH = """() => {
  window.shown = [];
  document.getElementById("files").addEventListener(
    "change", () => (window.chosen = performance.now()), {capture: true});
  const seen = new WeakSet();
  const look = () => {
    for (const score of document.querySelectorAll("[data-testid=score]")) {
      const card = score.closest("li");
      if (!seen.has(card)) window.shown.push(performance.now() - window.chosen);
      seen.add(card);
    }
    requestAnimationFrame(look);
  };
  look();
}"""
SERVER_MS = """() => performance.getEntriesByType("resource")
  .filter(entry => entry.name.includes("/predictions/"))
  .map(entry => entry.responseEnd - entry.requestStart)"""


@pytest.mark.alone
def test_the_page_adds_little_to_the_servers_time(open_page: Callable[..., Watched]) -> None:
    """One JPEG of 67 kB at a time, the server idle: from the choice to the drawn score."""
    with Image.open(PARROTS) as image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=84)
    assert 50_000 < len(file.getvalue()) < 75_000
    window = open_page()
    window.page.evaluate(WATCH)
    for number in range(ROUNDS):
        window.give(named(f"{number}.jpg", file.getvalue()))
        window.settled(number + 1)
        window.page.evaluate("() => new Promise(done => requestAnimationFrame(done))")
    shown = window.page.evaluate("() => window.shown")
    window.page.wait_for_function(f"n => ({SERVER_MS})().length >= n", arg=ROUNDS)
    served = window.page.evaluate(SERVER_MS)
    assert len(shown) == len(served) == ROUNDS
    beyond = sorted(all_of - server for all_of, server in zip(shown, served, strict=True))
    print(f"beyond the server, ms: best {beyond[0]:.0f}, median {statistics.median(beyond):.0f}")
    # The best of some: a machine that does other work as well delays any one of them.
    assert beyond[0] < BOUND_MS, beyond
