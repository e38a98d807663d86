"""
Fonts of this machine that look printed or handwritten, and which of them are for training.

Only families of `DESIGNS` are taken: whether an unknown font looks handwritten, its file does not
say. All of a design, bold and italic too, is in one split, so no test image shows a design that
training has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import ImageFont

PRINTED: Final = "printed"
HANDWRITTEN: Final = "handwritten"

DESIGNS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    PRINTED: {
        "fonts-cabin": ("Cabin",),
        "fonts-cantarell": ("Cantarell",),
        "fonts-crosextra-caladea": ("Caladea",),
        "fonts-crosextra-carlito": ("Carlito",),
        "fonts-dejavu-core": ("DejaVu S",),
        "fonts-ebgaramond": ("EB Garamond",),
        "fonts-essays1743": ("Essays1743",),
        "fonts-freefont-ttf": ("FreeMono", "FreeSans", "FreeSerif"),
        "fonts-inconsolata": ("Inconsolata",),
        "fonts-junicode": ("Junicode",),
        "fonts-lato": ("Lato",),
        "fonts-liberation": ("Liberation",),
        "fonts-linuxlibertine": ("Linux Libertine O", "Linux Biolinum O"),
        "fonts-oldstandard": ("Old Standard",),
        "fonts-open-sans": ("Open Sans",),
        "fonts-quattrocento": ("Quattrocento",),
        "fonts-roboto-unhinted": ("Roboto",),
        "fonts-sil-charis": ("Charis SIL",),
        "fonts-sil-gentium-basic": ("Gentium",),
        "fonts-tuffy": ("Tuffy",),
    },
    HANDWRITTEN: {
        "fonts-breip": ("Breip",),
        "fonts-bwht": ("Because We",),
        "fonts-dancingscript": ("Dancing Script",),
        "fonts-dkg-handwriting": ("DkgHandwriting",),
        "fonts-ecolier-court": ("Ecolier",),
        "fonts-femkeklaver": ("femkeklaver",),
        "fonts-havana": ("Havana",),
        "fonts-humor-sans": ("Humor Sans",),
        "fonts-joscelyn": ("Joscelyn",),
        "fonts-kaushanscript": ("Kaushan Script",),
        "fonts-kiloji": ("kiloji",),
        "fonts-klee": ("Klee",),
        "fonts-kouzan-mouhitsu": ("KouzanBrush",),
        "fonts-kristi": ("Kristi",),
        "fonts-nanum-extra": ("Nanum Pen", "Nanum Brush"),
        "fonts-rufscript": ("Rufscript",),
        "fonts-seto": ("SetoFont",),
        "fonts-sjfonts": ("Delphine", "Steve"),
        "fonts-smc-chilanka": ("Chilanka",),
        "fonts-tlwg-purisa-ttf": ("Purisa",),
        "fonts-tomsontalks": ("Tomson Talks",),
        "fonts-unfonts-extra": ("UnPilgi",),
    },
}
"""By kind and Debian package, all of a free licence: how its families' names begin."""
# Of "Lato Hairline" nothing is left at the size of the network's input; "SetoFont-ex" has no Latin.
LEFT_OUT: Final = ("hairline", "thin", "initials", "keyboard", "setofont-ex")
FOLDERS: Final = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
)  # fmt: skip
MIN_DESIGNS: Final = 3
TEST_SHARE: Final = 0.3
VAL_SHARE: Final = 0.15


@dataclass(frozen=True, kw_only=True, order=True)
class Font:
    """
    A font's file.

    Attributes:
        kind: `PRINTED` or `HANDWRITTEN`.
        design: Debian's package: what is drawn by one hand.
        name: Family and style.
        path: Of the file.
    """

    kind: str
    design: str
    name: str
    path: Path


def find_fonts(folders: Iterable[str | Path] = FOLDERS) -> list[Font]:
    """
    Return the fonts of both kinds that are installed, sorted.

    Raises:
        ValueError: Fewer than `MIN_DESIGNS` designs of a kind: there would be no split without.
    """
    found: dict[tuple[str, str], Font] = {}
    for name in folders:
        folder = Path(name).expanduser()
        for path in sorted(folder.rglob("*.[ot]tf")) if folder.is_dir() else []:
            font = _known(path)
            if font is not None:  # the same font in two formats, or in two folders, is one
                found.setdefault((font.kind, font.name), font)
    fonts = sorted(found.values())
    for kind, packages in DESIGNS.items():
        there = {font.design for font in fonts if font.kind == kind}
        if len(there) < MIN_DESIGNS:
            raise ValueError(
                f"fonts: expected at least {MIN_DESIGNS} {kind} designs, got {len(there)}"
                f"{': ' if there else ''}{', '.join(sorted(there))}. Install Debian's: "
                f"apt-get install --no-install-recommends {' '.join(sorted({*packages} - there))}"
            )
    return fonts


def split_of_design(fonts: Iterable[Font]) -> dict[tuple[str, str], str]:
    """
    Return train, val or test for each (kind, design), by a hash of the design's name.

    Args:
        fonts: Of at least `MIN_DESIGNS` designs of each kind; each split gets one or more of each.
    """
    splits = {}
    for kind in DESIGNS:
        designs = {font.design for font in fonts if font.kind == kind}
        order = sorted(designs, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        n_test = max(1, round(TEST_SHARE * len(order)))
        n_val = max(1, round(VAL_SHARE * len(order)))
        for place, design in enumerate(order):
            split = "test" if place < n_test else "val" if place < n_test + n_val else "train"
            splits[kind, design] = split
    return splits


def _known(path: Path) -> Font | None:
    try:
        family, style = ImageFont.truetype(path, 10).getname()
    except OSError:  # no font, or one of a format that FreeType does not read
        return None
    name = f"{family} {style or ''}".strip()
    if family is None or any(word in name.lower() for word in LEFT_OUT):
        return None
    for kind, packages in DESIGNS.items():
        for design, beginnings in packages.items():
            if family.startswith(beginnings):
                return Font(kind=kind, design=design, name=name, path=path)
    return None
