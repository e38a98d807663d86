"""
Pictures of the page, for the documents: a real browser before a server that runs.

    python -m benchmarks.page_pictures --photographs FOLDER [--url http://127.0.0.1:8080]
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageEnhance, ImageFilter
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

from console import command_line
from console.paths import ROOT

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome-stable")
GOLDEN: Final = ROOT / "handler" / "golden"
N_PHOTOGRAPHS: Final = 24
N_SHOWN: Final = 50
WAIT_MS: Final = 150_000.0
WIDE: Final = {"width": 1280, "height": 860}
WIDER: Final = {"width": 1440, "height": 1000}
PHONE: Final = {"width": 360, "height": 760}
SETTLED: Final = """n => document.querySelectorAll(
    "[data-testid=score], [data-testid=error]").length >= n"""

File = FilePayload
"""As Playwright takes it: name, mimeType, buffer."""


def main(argv: list[str] | None = None) -> int:
    """Open the page in each way that the documents show, and write the pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page_pictures",
        description="Write the pictures of docs/web.md: Debian's chromium on the page of a server "
        "that runs, with photographs of a folder and damaged copies of them.",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument(
        "--photographs", type=Path, default=GOLDEN,
        help="folder of them; the documents show Kodak's (default: handler/golden)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "web",
        help="folder of the pictures (default: docs/web)",
    )  # fmt: skip
    command_line.add_debug(parser)
    arguments = parser.parse_args(argv)
    return command_line.run(lambda: take(arguments), arguments.debug)


def take(arguments: argparse.Namespace) -> int:
    """
    Write each picture.

    Returns:
        0.

    Raises:
        FileNotFoundError: There is no browser, or no photograph.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise FileNotFoundError(
            "browser: expected chromium, got none. Install Debian's package chromium."
        )
    fifty = [*made(arguments.photographs), *broken()]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])

        @contextmanager
        def opened(**options: Any) -> Iterator[tuple[Page, Callable[[str], None]]]:
            with _page(browser, arguments.url, options) as page:
                yield page, lambda name: _save(page, arguments.out / f"{name}.webp")

        with opened(viewport=WIDE) as (page, save):
            save("start")
            _give(page, [file_of(GOLDEN / "parrots_blurred.jpg")])
            save("one")
            page.click(".map-toggle")
            page.locator(".map-toggle[aria-pressed=true]").wait_for()
            save("map")
        with opened(viewport=WIDER) as (page, save):
            page.set_input_files("input[type=file]", fifty)
            page.wait_for_function(SETTLED, arg=14)
            save("progress")
            page.wait_for_function(SETTLED, arg=N_SHOWN)
            save("fifty")
            page.click("#filter button:last-child")
            save("refused")
        with opened(viewport=WIDER, locale="vi-VN", color_scheme="dark") as (page, save):
            _give(page, fifty)
            page.select_option("#sort", "worst")
            save("dark-vietnamese")
        with opened(
            viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True
        ) as (page, save):  # fmt: skip
            _give(page, fifty[:3])
            save("phone")
        browser.close()
    print(arguments.out)
    return 0


def made(folder: Path) -> list[File]:
    """
    Return photographs, each with a damaged copy behind it, 47 in all.

    Raises:
        FileNotFoundError: The folder has none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected photographs, got none.")
    damages: list[Callable[[Image.Image], Image.Image]] = [
        lambda image: image.filter(ImageFilter.GaussianBlur(4)),
        lambda image: image.resize((image.width // 3, image.height // 3)),
        lambda image: image.quantize(12).convert("RGB"),
        lambda image: ImageEnhance.Brightness(image).enhance(0.25),
    ]
    files = []
    for index in range(N_PHOTOGRAPHS):
        with Image.open(paths[index % len(paths)]) as opened:
            image = opened.convert("RGB")
        files.append(encoded(image, f"IMG_{2040 + index}.jpg"))
        changed = damages[index % len(damages)](image)
        files.append(encoded(changed, f"IMG_{2040 + index}_edit.jpg"))
    return files[: N_SHOWN - 3]


def broken() -> list[File]:
    """Return three files that are refused, each for another reason."""
    whole = (GOLDEN / "parrots.jpg").read_bytes()
    strip = encoded(Image.new("RGB", (1600, 60), "grey"), "banner.jpg")
    return [
        strip,
        {"name": "half.jpg", "mimeType": "image/jpeg", "buffer": whole[: len(whole) // 3]},
        {"name": "notes.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7\n" + bytes(500)},
    ]


def encoded(image: Image.Image, name: str) -> File:
    """Return an image as a JPEG file."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return {"name": name, "mimeType": "image/jpeg", "buffer": out.getvalue()}


def file_of(path: Path) -> File:
    """Return a file of this machine."""
    return {"name": path.name, "mimeType": "image/jpeg", "buffer": path.read_bytes()}


@contextmanager
def _page(browser: Browser, url: str, options: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(**{"locale": "en-US", **options})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{url}/")
    page.locator("#choose").wait_for()
    yield page
    context.close()


def _give(page: Page, files: list[File]) -> None:
    page.set_input_files("input[type=file]", files)
    page.wait_for_function(SETTLED, arg=len(files))


def _save(page: Page, path: Path) -> None:
    if page.locator("#cancel").is_hidden():  # nothing is under way
        page.wait_for_timeout(3000)  # previews are drawn one after another
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=80)


if __name__ == "__main__":
    sys.exit(main())
