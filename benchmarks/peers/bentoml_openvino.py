"""BentoML with the same graph: `bentoml serve bentoml_openvino:Score`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml  # type: ignore[import-not-found]  # in .venv-bench only
from bentoml.validators import ContentType  # type: ignore[import-not-found]  # the same

from benchmarks.peers.scoring import Scorer


@bentoml.service(
    workers=int(os.environ["WORKERS"]),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Score:
    """One file in, score out."""

    def __init__(self) -> None:
        self._scorer = Scorer()

    @bentoml.api  # type: ignore[untyped-decorator]  # untyped here
    async def score(self, image: Annotated[Path, ContentType("image/jpeg")]) -> dict[str, Any]:
        """
        Score an uploaded file.

        In the event loop: BentoML's thread pool costs 1 to 2 ms more CPU a request, and its one
        thread would be as busy as the loop is.
        """
        return self._scorer.score(image.read_bytes())
