"""Debian's Chromium on the page, before a real server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from console.paths import ROOT
from tests.browser.watched import Watched
from tests.server import RunningServer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # containers give it no namespace of its own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """47 photographs: a golden one, blurred more and more."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(ROOT / "handler" / "golden" / "parrots.jpg") as image:
        image.draft("RGB", (384, 256))
        for number in range(47):
            blurred = image.filter(ImageFilter.GaussianBlur(number % 12 / 3))
            blurred.save(folder / f"IMG_{number:04d}.jpg", quality=90)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def base_url(fronted: RunningServer) -> str:
    """The address at which everything is: the front's."""
    return fronted.url("INFERENCE_PORT", "")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """
    One browser for the tests of a file.

    Playwright keeps an event loop running as long: other files' tests can run none meanwhile.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, base_url: str, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """
    Open the page as somebody has it: language, theme, size.

    At the end, no page may have asked another origin, broken its policy, or thrown an error.
    """
    opened: list[Watched] = []

    def open_(url: str = base_url, **options: Any) -> Watched:
        context: BrowserContext = chromium.new_context(
            **{"locale": "en-US", "viewport": {"width": 1280, "height": 860}, **options}
        )
        page: Page = context.new_page()
        watched = Watched(page, url)
        opened.append(watched)
        page.on("filechooser", lambda _: None)  # taken in before a key can open one
        response = page.goto(f"{url}/")
        assert response is not None and response.ok, f"{url}/: {response and response.status}"
        return watched

    yield open_
    for watched in opened:
        watched.page.context.close()
        watched.expect_clean()
