"""
The network's input for every accepted oddity, on record: `python -m tests.golden_inputs` renews it.

Kept are the input's size and the mean colour of its quarters: small, alike on every CPU, and
moved by a wrong conversion, rotation, filter or size.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from iqa.imaging.decoding import decode

from tests.odd_inputs import ODD_INPUTS

FILE = Path(__file__).with_suffix(".json")
ACCEPTED = [name for name, odd in ODD_INPUTS.items() if odd.status == 200]


def summary(name: str) -> dict[str, list[float]]:
    """Return the input's size (height, width) and the RGB means of its four quarters, 0-255."""
    pixels = decode(ODD_INPUTS[name].body).pixels()
    height, width = pixels.shape[:2]
    quarters = [
        pixels[rows, columns].mean(axis=(0, 1))
        for rows in (slice(0, height // 2), slice(height // 2, None))
        for columns in (slice(0, width // 2), slice(width // 2, None))
    ]
    return {"size": [height, width], "quarters": np.concatenate(quarters).round(2).tolist()}


if __name__ == "__main__":
    lines = [f"  {json.dumps(name)}: {json.dumps(summary(name))}" for name in ACCEPTED]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
