"""Graphics that a machine has, for tests: pages in a browser, icons of a theme."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
PAGES: Final = Path("/usr/share/doc")
ICONS: Final = Path("/usr/share/icons/Adwaita")
TIMEOUT_S: Final = 120.0
SCREEN_PX: Final = (1280, 2400)
VIEW_PX: Final = 800
SHEET_PX: Final = 384


def screenshots(limit: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield views of documentation pages as a browser shows them; nothing without a browser."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    pages = sorted(PAGES.glob("*/html/**/*.html"), key=lambda path: (path.name, str(path)))
    if browser is None or not pages:
        return
    for page in pages[:: max(1, 3 * len(pages) // limit)]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "page.png"
            done = subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--user-data-dir={folder}/profile", f"--screenshot={out}",
                 f"--window-size={SCREEN_PX[0]},{SCREEN_PX[1]}", page.as_uri()],
                capture_output=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
            if done.returncode != 0 or not out.exists():
                continue
            image = Image.open(io.BytesIO(out.read_bytes())).convert("RGB")
        for top in range(0, image.height, VIEW_PX):
            view = image.crop((0, top, image.width, top + VIEW_PX))
            if (
                np.asarray(view).std() > 1
            ):  # an empty end of a page is flat colour, judged elsewhere
                yield f"screenshot {page.relative_to(PAGES)} {top}", view


def icons(limit: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield icons of a theme, on a white or a coloured ground; nothing without the theme."""
    paths = sorted(ICONS.glob("96x96/*/*.png")) + sorted(ICONS.glob("48x48/legacy/*.png"))
    for place, path in enumerate(paths[:: max(1, len(paths) // limit)]):
        icon = Image.open(path).convert("RGBA")
        factor = SHEET_PX // (2 * max(icon.size)) if place % 2 else 1
        icon = icon.resize((icon.width * factor, icon.height * factor), Image.Resampling.LANCZOS)
        side = SHEET_PX if place % 2 else max(64, *icon.size)
        tone = (255, 255, 255) if place % 3 else (40 + place % 160, 90, 150)
        sheet = Image.new("RGB", (side, side), tone)
        sheet.paste(icon, ((side - icon.width) // 2, (side - icon.height) // 2), icon)
        yield f"icon {path.relative_to(ICONS)}", sheet
