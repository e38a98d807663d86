"""
TorchServe's entry point: a batch of requests in, a reply for each out.

TorchServe's worker asks for one class with `initialize` and `handle`. BaseHandler is not inherited:
it would bring loaders that are not used, and a describe header with which a client breaks the
whole batch.
"""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.decoding import DecodedImage, Limits, decode
from iqa.errors import ImageRejected
from iqa.payload import picture_of
from iqa.preprocessing import is_upscaled
from iqa.runtime import open_runtime
from iqa.score import label_of_score, score_of_quality
from numpy.typing import NDArray
from telemetry import Telemetry, silence_torchserve

logger = logging.getLogger(__name__)

JSON_TYPE: Final = "application/json"
SETTINGS: Final = frozenset({"runtime", "threads", "max_bytes", "max_pixels"})


class IQAHandler:
    """Scores pictures. One bad item gets its own 4xx and touches no neighbour."""

    def initialize(self, context: Any) -> None:
        """
        Load the network of the unpacked MAR.

        Args:
            context: TorchServe's; `model_yaml_config["handler"]` may hold runtime, threads,
                max_bytes, max_pixels.

        Raises:
            ValueError: A setting or the network is refused; TorchServe then reports the load
                as failed.
        """
        directory = Path(context.system_properties["model_dir"])
        settings = _settings(context.model_yaml_config or {})
        self.provenance: dict[str, Any] = json.loads((directory / "provenance.json").read_text())
        self._limits = Limits(
            max_bytes=settings.get("max_bytes", Limits.max_bytes),
            max_pixels=settings.get("max_pixels", Limits.max_pixels),
        )
        self._runtime = open_runtime(
            directory, settings.get("runtime", "auto"), settings.get("threads", 1)
        )
        self._version = str(self.provenance["model"]["version"])
        self._telemetry = Telemetry(context.metrics, self._version, context.model_name)
        logger.info(
            "iqa version %s loaded, runtime %s %s",
            self._version, self._runtime.name, self._runtime.precision,
        )  # fmt: skip
        silence_torchserve(context.metrics)
        gc.collect()
        gc.freeze()  # what is loaded now stays: the collector need not walk it again

    def handle(self, data: list[Mapping[str, Any]], context: Any) -> list[str]:
        """
        Answer a batch.

        Args:
            data: One row a request.
            context: Takes each item's status and content type.

        Returns:
            As many JSON documents as rows, in their order: text, because TorchServe's own encoder
            indents, and takes the slow way for it.

        Raises:
            ValueError: The network gave no number: the server's fault, 503 for the batch.
        """
        replies: list[dict[str, Any]] = [{} for _ in data]
        accepted: dict[int, tuple[DecodedImage, NDArray[np.uint8]]] = {}
        started = time.perf_counter()
        for index, row in enumerate(data):
            context.set_response_content_type(index, JSON_TYPE)
            if self._is_describe(row, context, index):
                replies[index] = self._describe()
                continue
            try:
                decoded = decode(picture_of(row), self._limits)
                accepted[index] = decoded, decoded.pixels()
            except ImageRejected as rejection:
                replies[index] = self._refuse(rejection, context, index)
        decoded_at = time.perf_counter()
        for index, quality in self._judge({i: pixels for i, (_, pixels) in accepted.items()}):
            replies[index] = self._reply(accepted[index][0], quality)
        if accepted:
            finished = time.perf_counter()
            self._telemetry.observe("iqa_latency_seconds", decoded_at - started, "decode")
            self._telemetry.observe("iqa_latency_seconds", finished - decoded_at, "network")
        return [json.dumps(reply) + "\n" for reply in replies]

    def _judge(self, pixels: dict[int, NDArray[np.uint8]]) -> list[tuple[int, float]]:
        """Run the network; (index, quality) for each picture."""
        if not self._runtime.gains_by_batches:
            return [
                (i, float(self._runtime.quality(array[None])[0])) for i, array in pixels.items()
            ]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, array in pixels.items():
            by_shape.setdefault(array.shape, []).append(index)
        judged: list[tuple[int, float]] = []
        for indices in by_shape.values():
            stack = np.stack([pixels[i] for i in indices])
            judged += zip(indices, self._runtime.quality(stack).tolist(), strict=True)
        return judged

    def _reply(self, decoded: DecodedImage, quality: float) -> dict[str, Any]:
        score = score_of_quality(quality)
        label = label_of_score(score)
        self._telemetry.count("iqa_scores_total", label)
        self._telemetry.count("iqa_score_points_total", amount=score)
        width, height = decoded.size
        upscaled = ["upscaled"] if is_upscaled(width, height) else []
        return {
            "score": score,
            "label": label,
            "model": {"name": "iqa", "version": self._version},
            "image": {"width": width, "height": height, "format": decoded.format},
            "warnings": [*decoded.warnings, *upscaled],
        }

    def _refuse(self, rejection: ImageRejected, context: Any, index: int) -> dict[str, Any]:
        context.set_response_status(rejection.status, rejection.reason, idx=index)
        self._telemetry.count("iqa_rejections_total", rejection.reason)
        return rejection.body()

    def _describe(self) -> dict[str, Any]:
        runtime = {"name": self._runtime.name, "precision": self._runtime.precision}
        return {**self.provenance, "runtime": runtime}

    def _is_describe(self, row: Mapping[str, Any], context: Any, index: int) -> bool:
        """
        Tell the management API's `?customized=true` from a prediction.

        Both come as a header, which a client can send as well: with a picture it is ignored,
        without one it shows what anyone may know.
        """
        is_asked = context.get_request_header(index, "describe") == "True"
        return is_asked and not (row.get("data") or row.get("body"))


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration's part for the handler; refuse what nobody reads."""
    settings = dict(config.get("handler") or {})
    unknown = sorted(set(settings) - SETTINGS)
    if unknown:
        raise ValueError(
            f"model-config.yaml, handler: expected {', '.join(sorted(SETTINGS))}, "
            f"got {', '.join(unknown)}."
        )
    for name in SETTINGS - {"runtime"}:
        if name in settings and not (isinstance(settings[name], int) and settings[name] > 0):
            raise ValueError(f"{name}: expected an integer above 0, got {settings[name]!r}.")
    return settings
