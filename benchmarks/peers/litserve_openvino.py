"""LitServe with the same graph: `python -m benchmarks.peers.litserve_openvino PORT WORKERS`."""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve  # type: ignore[import-not-found]  # in .venv-bench only

from benchmarks.peers.scoring import Scorer


class Score(litserve.LitAPI):  # type: ignore[misc]  # untyped here
    """Base64 in JSON in, score out: each step where LitServe's own examples have it."""

    def setup(self, device: str) -> None:
        """Load the graph in the worker."""
        self._scorer = Scorer()

    # An annotation of another type than LitServe's own would become a query parameter.
    def decode_request(self, request):  # type: ignore[no-untyped-def]  # as its base
        """Return the file's content."""
        return base64.b64decode(request["image"])

    def predict(self, body: bytes) -> dict[str, Any]:
        """Score it."""
        return self._scorer.score(body)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Reply with it as it is."""
        return output


if __name__ == "__main__":
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    server = litserve.LitServer(Score(), accelerator="cpu", workers_per_device=workers)
    server.run(
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
