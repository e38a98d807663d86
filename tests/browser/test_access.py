"""For everybody: by keyboard, by screen reader, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from console.paths import ROOT
from tests.browser.watched import Watched, named

PARROTS = ROOT / "handler" / "golden" / "parrots.jpg"
Open = Callable[..., Watched]
TAB_MAX = 40


def _violations(window: Watched) -> list[str]:
    found = Axe().run(window.page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for violation in found
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-US", "vi-VN"])
def test_axe_finds_nothing(open_page: Open, language: str, scheme: str) -> None:
    """Empty; with scores, notes, refusals and a map; with the dialog; at the width of a phone."""
    window = open_page(locale=language, color_scheme=scheme, reduced_motion="reduce")
    page = window.page
    assert _violations(window) == []
    small = PARROTS.read_bytes()
    window.give(PARROTS, named("a.jpg", small), named("b.pdf", b"%PDF-1.7"), named("c", b""))
    window.settled(4)
    page.locator(".map-toggle").first.click()
    page.locator("img.map").wait_for()
    page.locator("details summary").first.click()
    assert _violations(window) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert _violations(window) == []
    page.click("#about-open")
    page.locator("#about").wait_for()
    assert _violations(window) == []
    page.keyboard.press("Escape")
    page.context.set_offline(True)
    window.give(PARROTS)
    page.locator("#banner").wait_for()
    assert _violations(window) == []
    page.click("#cancel")
    assert _violations(window) == []


@pytest.mark.parametrize("width", [360, 768, 1920, 3440])
def test_nothing_is_wider_than_the_window(
    open_page: Open, pictures: list[Path], width: int
) -> None:
    """No scrolling sideways, in the longer of the two languages and with a long name."""
    window = open_page(locale="vi-VN", viewport={"width": width, "height": 760})
    page = window.page
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    name = "IMG_" + "20260101" * 20 + ".jpg"
    window.give(named(name, PARROTS.read_bytes()), named("x" * 200, b"nothing"), *pictures[:3])
    window.settled(5)
    page.locator(".map-toggle").first.click()
    page.locator("img.map").wait_for()
    assert page.evaluate(overflow) == 0
    page.click("#about-open")
    assert page.evaluate(overflow) == 0


def test_a_phone_offers_its_camera(open_page: Open) -> None:
    """A button opens it; a desktop has no such button, and one input for files."""
    assert open_page().page.locator("#camera").is_hidden()
    window = open_page(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    page = window.page
    assert page.locator("input[type=file]").count() == 1
    with page.expect_file_chooser() as opened:
        page.locator("#camera").tap()
    assert opened.value.element.get_attribute("capture") == "environment"
    opened.value.set_files(PARROTS)
    window.settled(1)
    assert page.locator("input[type=file]").count() == 1


def test_all_of_it_by_keyboard(open_page: Open) -> None:
    """Samples, map, order, filter, removing, the dialog: with Tab, Enter and arrows alone."""
    window = open_page()
    page = window.page

    def reach(selector: str, key: str = "Tab") -> None:
        for _ in range(TAB_MAX):
            page.keyboard.press(key)
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} is not reached with {key}")

    reach("#choose")
    with page.expect_file_chooser():
        page.keyboard.press("Enter")
    reach("#samples")
    page.keyboard.press("Enter")
    window.settled(3)
    reach(".map-toggle")
    page.keyboard.press("Space")
    page.locator("img.map").wait_for()
    assert page.evaluate("document.activeElement.matches('.map-toggle')")
    reach(".remove")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('[data-testid=result]').length === 2")
    assert page.evaluate("document.activeElement.matches('.remove')")  # the next one's
    reach("#sort", "Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.getElementById('sort').value === 'worst'")
    assert window.scores() == sorted(window.scores())
    reach(".chip:not([data-group=all])", "Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('[data-testid=result]').length === 1")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    reach("#about-open", "Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator("#about").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "about-open"


def test_screen_readers_are_told_what_happens(open_page: Open, pictures: list[Path]) -> None:
    """Few pictures one by one, many in one sentence, and none of the counting between."""
    window = open_page()
    page = window.page
    page.evaluate(
        """() => { window.said = []; const said = document.getElementById("said");
        new MutationObserver(() => window.said.push(said.textContent))
          .observe(said, {childList: true}); }"""
    )
    window.give(named("a.txt", b"nothing"))
    window.settled(1)
    window.give(*pictures[:12])
    window.settled(13)
    page.wait_for_function("() => window.said.at(-1).startsWith('12 scored, 1 refused')")
    said = page.evaluate("window.said")
    assert said[0].startswith("a.txt: not scored. This is not a picture")
    assert said[1] == "12 pictures added."
    assert len(said) == 3


def test_pictures_are_dropped_and_pasted(open_page: Open) -> None:
    """The whole page takes what is dropped; a picture in the clipboard gets a name."""
    window = open_page()
    page = window.page
    give = """async ([kind, name]) => {
      const blob = await (await fetch("/static/samples/parrots.jpg")).blob();
      const transfer = new DataTransfer();
      transfer.items.add(new File([blob], name, {type: "image/png"}));
      const event = kind === "paste"
        ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
        : new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true});
      document.querySelector("h1").dispatchEvent(event);
      return document.body.classList.contains("is-over");
    }"""
    assert page.evaluate(give, ["dragenter", "dropped.jpg"]) is True
    assert page.evaluate(give, ["drop", "dropped.jpg"]) is False
    page.evaluate(give, ["paste", "image.png"])
    cards = window.settled(2)
    assert [card.locator("h3").inner_text() for card in cards] == ["dropped.jpg", "pasted-1.png"]
