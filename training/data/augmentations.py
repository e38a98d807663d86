"""Names of the augmentations of whole images, as the command line takes them."""

from __future__ import annotations

import argparse
from typing import Final

AUGMENTATIONS: Final = (
    "flip", "shift", "rotation", "affine", "crop", "colour", "erase", "randaugment",
)  # fmt: skip
"""`training.data.whole_images` says what each does."""


def augmentations_of_text(text: str) -> tuple[str, ...]:
    """Read `flip,shift`, or `none`; for argparse."""
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected none or some of {', '.join(AUGMENTATIONS)}, got {', '.join(unknown)}."
        )
    return names
