"""What somebody with photographs does: choose, read, look at the map, sort, save."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from console.paths import ROOT
from tests.browser.watched import Watched, named, names
from tests.images import encode, photograph, with_orientation
from tests.server import RunningServer

GOLDEN = ROOT / "handler" / "golden"
PARROTS, BLURRED = GOLDEN / "parrots.jpg", GOLDEN / "parrots_blurred.jpg"
Open = Callable[..., Watched]


def test_a_picture_gets_the_servers_score(open_page: Open, fronted: RunningServer) -> None:
    """Score, label and interval are those of the reply; the score stands alone in its element."""
    told = fronted.score(PARROTS.read_bytes())
    window = open_page()
    window.give(PARROTS)
    [card] = window.settled(1)
    assert float(card.get_by_test_id("score").inner_text()) == pytest.approx(
        told["score"], abs=0.051
    )
    assert card.get_by_test_id("label").inner_text() == told["label"].capitalize()
    low, high = (math.floor(end + 0.5) for end in told["interval"])  # as JavaScript rounds
    words = f"People would say {low} to {high}, nine times in ten."
    assert card.locator(".interval").inner_text() == words
    assert card.locator(".facts").inner_text() == "768 x 512, JPEG"
    assert window.page.locator("#served").inner_text() == "iqa, version 1"
    assert window.page.locator("#said").inner_text().startswith("parrots.jpg: Score ")


def test_two_clicks_from_the_address_to_a_score(open_page: Open) -> None:
    """The first click is the address in the terminal; the second one takes the samples."""
    window = open_page()
    window.page.click("#samples")
    cards = window.settled(3)
    assert names(cards) == ["parrots.jpg", "lighthouse.jpg", "parrots_blurred.jpg"]
    assert len(window.scores()) == 3


def test_fifty_pictures_with_three_broken_ones(open_page: Open, pictures: list[Path]) -> None:
    """47 scores, and three reasons with what to do; filter and order work on them."""
    window = open_page()
    broken = [
        named("notes.pdf", b"%PDF-1.7\n" + bytes(500)),
        named("half.jpg", PARROTS.read_bytes()[:20_000]),
        named("strip.png", encode(photograph(640, 48), "PNG")),
    ]
    for some in (pictures[:20], broken, pictures[20:]):
        window.give(*some)
    cards = window.settled(50)
    page = window.page
    assert page.locator("#summary").inner_text().startswith("47 scored, 3 refused")
    assert len(window.scores()) == 47
    reasons = [error.get_attribute("data-reason") for error in page.get_by_test_id("error").all()]
    assert reasons == ["unsupported_format", "truncated", "too_narrow"]
    assert "Save it as JPEG or PNG." in cards[20].get_by_test_id("error").inner_text()
    assert page.locator("#retry-failed").is_hidden()  # a refusal stays one

    page.select_option("#sort", "best")
    assert window.scores() == sorted(window.scores(), reverse=True)
    page.select_option("#sort", "worst")
    assert window.scores() == sorted(window.scores())
    assert names(window.results())[-3:] == ["notes.pdf", "half.jpg", "strip.png"]
    page.select_option("#sort", "name")
    assert names(window.results())[0] == "half.jpg"

    for chip in page.locator("#filter button").all():
        chip.click()
        count = int(chip.locator(".count").inner_text())
        page.wait_for_function(
            "n => document.querySelectorAll('[data-testid=result]').length === n", arg=count
        )
    assert names(window.results()) == ["half.jpg", "notes.pdf", "strip.png"]


def test_at_most_four_are_under_way(open_page: Open, pictures: list[Path]) -> None:
    """The page holds the others back, and its bar only rises."""
    window = open_page()
    window.page.evaluate(
        """() => { window.most = window.underWay = 0;
        const { send } = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.send = function (body) {
          window.most = Math.max(window.most, ++window.underWay);
          this.addEventListener("readystatechange", () => {
            if (this.readyState === 4) window.underWay--;
          });
          send.call(this, body);
        };
        window.seen = []; const bar = document.getElementById("progress");
        new MutationObserver(() => { if (!bar.hidden) window.seen.push(bar.value / bar.max); })
          .observe(bar, {attributes: true}); }"""
    )
    window.give(*pictures[:16])
    window.settled(16)
    assert window.page.evaluate("window.most") == 4
    seen = window.page.evaluate("window.seen")
    assert seen == sorted(seen)
    assert len(set(seen)) >= 8


def test_the_language_is_the_browsers_until_another_one_is_chosen(open_page: Open) -> None:
    """Everything changes at once, results too, and the choice is remembered."""
    window = open_page(locale="vi-VN")
    page = window.page
    assert page.locator("html").get_attribute("lang") == "vi"
    assert page.title() == "Chất lượng ảnh"
    window.give(PARROTS, BLURRED, named("notes.txt", b"no picture at all"))
    cards = window.settled(3)
    assert cards[0].get_by_test_id("label").inner_text() == "Rất tốt"
    assert cards[1].get_by_test_id("label").inner_text() == "Kém"
    assert "Đây không phải là ảnh" in cards[2].get_by_test_id("error").inner_text()
    assert window.scores()[0] > 80
    page.click("[data-language=en]")
    assert cards[0].get_by_test_id("label").inner_text() == "Excellent"
    assert "This is not a picture" in cards[2].get_by_test_id("error").inner_text()
    page.reload()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#choose").inner_text() == "Choose pictures"


def test_another_language_gets_english(open_page: Open) -> None:
    """A browser in neither of the two."""
    assert open_page(locale="de-DE").page.locator("#choose").inner_text() == "Choose pictures"


def test_the_map_lies_over_the_picture(open_page: Open) -> None:
    """A button fetches it once, shows and hides it; it covers the preview."""
    window = open_page()
    window.give(PARROTS)
    [card] = window.settled(1)
    card.locator("img.preview").wait_for()
    toggle = card.locator(".map-toggle")
    toggle.click()
    shown = card.locator("img.map")
    shown.wait_for()
    assert toggle.get_attribute("aria-pressed") == "true"
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
    assert shown.bounding_box() == card.locator("img.preview").bounding_box()
    toggle.click()
    assert shown.count() == 0
    toggle.click()
    shown.wait_for()
    assert sum("/explanations/" in url for url in window.asked) == 1


def test_the_saved_table_is_whole_and_harmless(open_page: Open, tmp_path: Path) -> None:
    """A row for each picture, in the order shown; no name becomes a formula in a spreadsheet."""
    window = open_page()
    body = PARROTS.read_bytes()
    evil = ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "@SUM(A1).jpg", "-2+3.jpg", '"quoted", comma.jpg']
    window.give(*(named(name, body) for name in [*evil, "ảnh đẹp.jpg"]), named("x.gif", b"GIF8"))
    window.settled(7)
    with window.page.expect_download() as saved:
        window.page.click("#csv")
    assert saved.value.suggested_filename.endswith(".csv")
    saved.value.save_as(tmp_path / "saved.csv")
    raw = (tmp_path / "saved.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [row["image_name"] for row in rows] == [
        *(f"'{name}" for name in evil[:4]), evil[4], "ảnh đẹp.jpg", "x.gif",
    ]  # fmt: skip
    assert [row["state"] for row in rows] == ["scored"] * 6 + ["refused"]
    assert {row["label"] for row in rows[:6]} == {"excellent"}
    assert float(rows[0]["score"]) == pytest.approx(window.scores()[0], abs=0.051)
    assert float(rows[0]["interval_low"]) < float(rows[0]["score"])
    assert rows[6]["reason"] == "undecodable" and rows[6]["score"] == ""
    assert not any(value.startswith(tuple("=+-@")) for row in rows for value in row.values())


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_previews_stand_upright_as_the_server_sees_them(open_page: Open, file_format: str) -> None:
    """All eight EXIF orientations; where the browser shows another one, the card says so."""
    window = open_page()
    files = [named(f"{n}.bin", with_orientation(n, file_format)) for n in range(1, 9)]
    window.give(*files)
    cards = window.settled(8)
    for card in cards:
        if file_format == "TIFF":
            assert (
                card.locator(".no-preview").inner_text() == "Your browser cannot show this format"
            )
            card.locator(".map-toggle").click()
            shown = card.locator("img.map")  # the server can show it
        else:
            shown = card.locator("img.preview")
            assert shown.evaluate(CORNERS) == "rgbw"
        box = shown.bounding_box()
        assert box is not None
        assert (box["width"] > box["height"]) is True
        # And not that it may be turned; a drawing of four corners is no photograph.
        assert card.locator(".notes").inner_text().splitlines() == [SMALL, GRAPHIC]


def test_large_pictures_leave_small_previews(open_page: Open) -> None:
    """What the page keeps of a photograph is its file and a small JPEG, not its pixels."""
    window = open_page()
    body = encode(photograph(3000, 2000), "JPEG")
    window.give(*(named(f"{number}.jpg", body) for number in range(6)))
    window.settled(6)
    images = window.page.locator("img.preview")
    images.nth(5).wait_for()
    for image in images.all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 720
        assert image.evaluate("image => image.src").startswith("blob:")


SMALL = "Small picture: the score speaks of it enlarged."
GRAPHIC = "This does not look like a photograph: the score means little."
CORNERS = """async image => {
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const at = (x, y) => {
    const [r, g, b] = context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data;
    return r > 128 && g > 128 ? "w" : r > 128 ? "r" : g > 128 ? "g" : "b";
  };
  return at(.2, .2) + at(.8, .2) + at(.2, .8) + at(.8, .8);
}"""
