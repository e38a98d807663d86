"""
What every OpenVINO peer runs: the archive's own decoding, preprocessing and graph.

`iqa` is the archive's, because the unpacked archive is this process's PYTHONPATH.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import iqa
from iqa.imaging.decoding import decode
from iqa.network.runtime import open_runtime
from iqa.tasks.score_scales import ScoreScale, label_of_score

MODEL_DIR = Path(str(iqa.__file__)).parents[1]


class Scorer:
    """The loaded graph, one compute thread; not safe to call from two threads at once."""

    def __init__(self) -> None:
        self._runtime = open_runtime(MODEL_DIR, "openvino", threads=1)
        self._scale = ScoreScale.of_card(json.loads((MODEL_DIR / "model.json").read_text()))

    def score(self, body: bytes) -> dict[str, Any]:
        """
        Score a picture.

        Args:
            body: The file's content.

        Returns:
            `score` in [0, 100] and its `label`.
        """
        pixels_HWC = decode(body).pixels()
        score = self._scale.score(float(self._runtime.outputs(pixels_HWC[None])[0]))
        return {"score": score, "label": label_of_score(score)}
