"""
The package `iqa` from its first line on, to be read from top to bottom and run as it stands.

    pip install .
    python docs/three_lines.py                    # the photographs that the project ships
    python docs/three_lines.py photographs/*.jpg  # yours

What it prints, on these and on the Kodak photographs, stands in docs/python.md.
"""

import io
import sys
from pathlib import Path

import iqa
import numpy as np
from PIL import Image, ImageFilter

GOLDEN = Path(__file__).parents[1] / "handler" / "golden"
photographs = sys.argv[1:] or sorted(str(path) for path in GOLDEN.glob("*.jpg"))

# The three lines: import, load, score. A score is a number from 0 to 100 that knows its label, and
# the interval in which people's mean rating would lie nine times in ten.
model = iqa.load()
for path, score in zip(photographs, model.score(photographs), strict=True):
    low, high = score.interval
    print(f"{score:6.2f}  {score.label:<9}  {low:5.1f} to {high:5.1f}  {Path(path).name}")

# A picture may be a path, a file's bytes, a PIL image or an array of (height, width, 3) in RGB.
path = photographs[0]
image = Image.open(path)
for picture in (path, Path(path).read_bytes(), image, np.asarray(image.convert("RGB"))):
    print(f"{model.score(picture):6.2f}  as {type(picture).__name__}")

# So the effect of a change is one line away: blur, and JPEG at falling quality.
for radius in (0, 1, 2, 4):
    print(
        f"{model.score(image.filter(ImageFilter.GaussianBlur(radius))):6.2f}  blur of {radius} px"
    )
for quality in (95, 50, 20, 5):
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    print(f"{model.score(file.getvalue()):6.2f}  JPEG of quality {quality}")

# What cannot be scored raises ImageRejected: a reason for programs, a message for people.
try:
    model.score(b"this is no picture")
except iqa.ImageRejected as error:
    print(error.reason, "-", error)

# `predict` gives the whole reply, as a server does.
print(model.predict(path))
