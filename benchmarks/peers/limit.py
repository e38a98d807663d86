"""
The limit: one process that scores a picture over and over, with no server around it.

    python -m benchmarks.peers.limit PICTURE

Loads, says `ready`, reads how many seconds to run from standard input, and prints what it did.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from iqa.imaging.decoding import decode
from iqa.network.runtime import open_runtime
from iqa.tasks.score_scales import ScoreScale

from benchmarks.peers.scoring import MODEL_DIR

WARM_UP_PICTURES = 50


def main() -> None:
    """Run until the time is over."""
    body = Path(sys.argv[1]).read_bytes()
    runtime = open_runtime(MODEL_DIR, "openvino", threads=1)
    scale = ScoreScale.of_card(json.loads((MODEL_DIR / "model.json").read_text()))
    stages = {"decode": 0.0, "preprocess": 0.0, "graph": 0.0}

    def score() -> float:
        # The whole process's CPU time: OpenVINO may compute in a thread of its own.
        started = time.process_time()
        picture = decode(body)
        decoded = time.process_time()
        pixels_HWC = picture.pixels()
        preprocessed = time.process_time()
        quality = float(runtime.outputs(pixels_HWC[None])[0])
        stages["decode"] += decoded - started
        stages["preprocess"] += preprocessed - decoded
        stages["graph"] += time.process_time() - preprocessed
        return scale.score(quality)

    for _ in range(WARM_UP_PICTURES):
        answer = score()
    stages = dict.fromkeys(stages, 0.0)
    print("ready", flush=True)
    seconds = float(sys.stdin.readline())
    pictures, started_s, cpu_started_s = 0, time.monotonic(), time.process_time()
    while (elapsed_s := time.monotonic() - started_s) < seconds:
        answer = score()
        pictures += 1
    cpu_s = time.process_time() - cpu_started_s
    document = {"pictures": pictures, "elapsed_s": elapsed_s, "cpu_s": cpu_s, "score": answer}
    print(json.dumps({**document, "stages_cpu_s": stages}), flush=True)


if __name__ == "__main__":
    main()
