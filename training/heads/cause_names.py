"""What a client is told of each kind of damage; does not wait for torch."""

from __future__ import annotations

from typing import Final

CAUSE_OF_KIND: Final = {
    "dark": "exposure", "bright": "exposure", "contrast": "contrast", "colour": "colour",
    "blur": "blur", "noise": "noise", "compression": "compression",
}  # fmt: skip
"""What a client is told of each kind of `training.heads.samples.KINDS`."""
# Exposure, contrast and colour are learnt with them, but what is meant looks like a fault there.
SHIPPED: Final = ("blur", "noise", "compression")
