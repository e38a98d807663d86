"""A page, what it asked for, and what the browser complained of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page

SETTLED = """n => [...document.querySelectorAll("[data-testid=result]")].filter(
    e => e.querySelector("[data-testid=score], [data-testid=error]")).length >= n"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
WAIT_MS = 150_000.0  # on a machine that does other work as well


class Watched:
    """
    One opened page.

    Args:
        page: Not gone anywhere yet.
        origin: The only one that it may ask.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        # Of workers too.
        page.context.on("request", lambda request: self.asked.append(request.url))
        page.on("response", lambda response: self.statuses.append(response.status))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        # The browser tells the page of each thing that the policy stopped, before any script runs.
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " event => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"
        )

    def _hear(self, message: ConsoleMessage) -> None:
        # A refusal is an answer; Chromium also writes each 4xx and 5xx to the console.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def give(self, *files: Path | dict[str, Any]) -> None:
        """Choose files, as paths or as `named` makes them."""
        payloads = [
            named(file.name, file.read_bytes()) if isinstance(file, Path) else file
            for file in files
        ]
        self.page.set_input_files("input[type=file]", payloads)  # type: ignore[arg-type]  # a dict

    def settled(self, n: int) -> list[Locator]:
        """Wait until so many pictures are scored or refused; return their cards."""
        self.page.wait_for_function(SETTLED, arg=n, timeout=WAIT_MS)
        return self.results()

    def results(self) -> list[Locator]:
        """Return all cards, in the order in which they are shown."""
        self.page.evaluate(DRAWN)
        return self.page.get_by_test_id("result").all()

    def scores(self) -> list[float]:
        """Return the scores of the cards that have one, in the order in which they are shown."""
        self.page.evaluate(DRAWN)
        return [float(text) for text in self.page.get_by_test_id("score").all_inner_texts()]

    def expect_clean(self) -> None:
        """Check that nothing outside was asked, no policy was broken, and nothing was thrown."""
        assert self.complaints == []
        origins = {f"{split.scheme}://{split.netloc}" for split in map(urlsplit, self.asked)}
        inside = {self.origin, "blob://"}
        assert origins <= inside, origins - inside
        assert f"{self.origin}/page/models" in self.asked


def named(name: str, body: bytes) -> dict[str, Any]:
    """Return a file to choose."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": body}


def names(results: Sequence[Locator]) -> list[str]:
    """Return the file names of cards."""
    return [result.locator("h3").inner_text() for result in results]
