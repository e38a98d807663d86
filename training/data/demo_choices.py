"""Which synthetic data sets are made, and how small they may be; does not wait for torch."""

from __future__ import annotations

from typing import Final

QUALITY: Final = "quality"
HANDWRITING: Final = "handwriting"
MIN_PICTURES: Final = {
    QUALITY: 20,
    # One round of the splits: two images of each kind and more in each.
    HANDWRITING: 40,
}
"""By `--task` of `training.demo_data`."""
