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
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.drift.reference import Reference
from iqa.errors import ImageRejected, NotScored
from iqa.imaging.decoding import Limits, decode
from iqa.network import logit_map_overlay
from iqa.network.runtime import open_runtime
from iqa.request import encoding, explanation, options
from iqa.request.payload import fields_in, image_name_in, picture_in
from iqa.request.queue_time import START_HEADERS, Clock, waited_s
from iqa.scoring.scorer import Scorer
from iqa.tasks.accept_or_reject import DecisionThresholds
from iqa.tasks.task import CARD_FILE
from prediction_log import PredictionLog
from request_log import RequestLog, header_in, request_id
from telemetry import Item, Telemetry, silence_torchserve

logger = logging.getLogger(__name__)

JSON_TYPE: Final = "application/json"
THRESHOLDS: Final = ("accept_at", "reject_below")
SETTINGS: Final = frozenset(
    {"runtime", "threads", "max_bytes", "max_pixels", "max_age_s", *THRESHOLDS}
)
MAX_AGE_S: Final = 10
NAME_HEADER: Final = "X-Image-Name"
"""Set by the front for /predict: the reply says the name of the form's file as well."""


class IQAHandler:
    """Scores pictures. One bad item gets its own 4xx or 5xx and touches no neighbour."""

    def initialize(self, context: Any) -> None:
        """
        Load the network of the unpacked MAR.

        Args:
            context: TorchServe's; `model_yaml_config["handler"]` may hold runtime, threads,
                max_bytes, max_pixels, max_age_s, accept_at, reject_below.

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
        card = json.loads((directory / CARD_FILE).read_text())
        reference = Reference.of_card(card)
        self._scorer = Scorer(
            directory,
            card,
            lambda backbone: open_runtime(
                directory, settings.get("runtime", "auto"), settings.get("threads", 1), backbone
            ),
            self.provenance.get("precision"),
            DecisionThresholds.of_settings(settings),
            measures=reference is not None,
        )
        self._name = str(self.provenance["model"]["name"])
        self._version = str(self.provenance["model"]["version"])
        self._model = {"name": self._name, "version": self._version}
        self._max_age_s = settings.get("max_age_s", MAX_AGE_S)
        self._clock = Clock()
        self._telemetry = Telemetry(
            context.metrics, self._version, context.model_name, self._scorer.task.labels(card),
            reference,
        )  # fmt: skip
        self._log = RequestLog(self._version)
        self._predictions = PredictionLog(context, self._model)
        logger.info(
            "%s version %s loaded, runtime %s %s",
            self._name, self._version, self._scorer.runtime.name, self._scorer.runtime.precision,
        )  # fmt: skip
        silence_torchserve(context.metrics)
        self._telemetry.announce()
        gc.collect()
        gc.freeze()  # what is loaded now stays: the collector need not walk it again

    def handle(self, data: list[Mapping[str, Any]], context: Any) -> list[str | bytes]:
        """
        Answer a batch.

        Args:
            data: One row a request.
            context: Takes each item's status and content type.

        Returns:
            As many JSON documents as rows, in their order: text, because TorchServe's own encoder
            indents, and takes the slow way for it. An explanation may be a PNG file instead.

        Raises:
            MemoryError: For TorchServe, which answers 507 for the batch.
        """
        started_s = time.perf_counter()
        now_s = self._clock.now_s()
        items = [self._read(row, context, index, now_s) for index, row in enumerate(data)]
        readable = [item for item in items if item.pixels is not None]
        self._judge([item for item in readable if item.explains is None], context)
        self._explain([item for item in readable if item.explains is not None], context)
        elapsed_s = time.perf_counter() - started_s
        self._telemetry.add(items, elapsed_s)
        self._log.write(items, elapsed_s, context)
        self._predictions.record(items, elapsed_s, context)
        return [item.picture or json.dumps(item.reply) + "\n" for item in items]

    def _read(self, row: Mapping[str, Any], context: Any, index: int, now_s: float) -> Item:
        """Return a request with its picture read, or with the reply that says why not."""
        context.set_response_content_type(index, JSON_TYPE)
        item = Item(index)
        if self._is_describe(row, context, index):
            item.reply = self._describe()
            return item
        started_s = time.perf_counter()
        try:
            self._expect_fresh(item, context, now_s)
            headers = context.get_all_request_header(index)
            row = encoding.plain_row(row, headers, self._limits.max_bytes)
            fields = fields_in(row, headers)
            item.top_k = options.top_k_of(options.asked(options.TOP_K, fields, headers))
            # TorchServe sets it by the address; a client's own does not come through.
            if header_in(headers, "explain") == "True":
                item.explains = explanation.wanted_format(
                    {field.name: field.content for field in fields if not field.is_file}, headers
                )
                item.output = options.class_of(
                    options.asked(options.CLASS, fields, headers), self._scorer.class_names
                )
            body = picture_in(fields)
            if header_in(headers, NAME_HEADER):
                item.beside = {"image_name": image_name_in(fields)}
            item.n_bytes, item.digest = len(body), self._predictions.digest_of(body)
            item.decoded = decode(body, self._limits, self._scorer.policy)
            item.pixels = item.decoded.pixels()
        except ImageRejected as rejection:
            item.reason = rejection.reason
            if rejection.reason == "unsupported_encoding":  # RFC 9110, section 15.5.16
                context.set_response_header(index, "Accept-Encoding", encoding.TAKEN)
            self._refuse(item, "rejected", rejection, context)
        except NotScored as expiry:
            self._refuse(item, "expired", expiry, context)
        except Exception as error:  # a decoder's fault in one file is not the neighbours' fault
            self._fail(item, "decode", error, context)
        item.decode_s = time.perf_counter() - started_s
        return item

    def _judge(self, items: list[Item], context: Any) -> None:
        """Run the network, and reply to each picture."""
        for stack in self._stacks(items):
            started_s = time.perf_counter()
            try:
                pixels = [item.pixels for item in stack if item.pixels is not None]
                batch_NHWC = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)
                looks = self._scorer.look(batch_NHWC)
            except Exception as error:
                for item in stack:
                    self._fail(item, "network", error, context)
                continue
            network_s = time.perf_counter() - started_s
            for item, seen in zip(stack, looks, strict=True):
                item.network_s = network_s
                assert item.decoded is not None  # it has pixels
                try:
                    reply = self._scorer.reply(item.decoded, seen, self._model, item.top_k)
                    item.reply = reply | item.beside
                    item.measured = self._scorer.measures(item.decoded, seen, reply)
                    item.outcome = "scored"
                except Exception as error:  # above all a quality of NaN
                    self._fail(item, "score", error, context)

    def _explain(self, items: list[Item], context: Any) -> None:
        """Reply to each picture with its answer and the map of where that comes from."""
        for item in items:
            started_s = time.perf_counter()
            assert item.decoded is not None and item.pixels is not None  # it is readable
            try:
                seen, found = self._scorer.look_with_map(item.pixels, item.output)
                reply = self._scorer.reply(item.decoded, seen, self._model, item.top_k)
                item.reply = {**reply, "map": self._scorer.map_body(found)}
                if item.explains == explanation.PNG:
                    item.picture = logit_map_overlay.png(item.pixels, found)
                    context.set_response_content_type(item.index, explanation.PNG_TYPE)
                item.outcome = "explained"
            except ImageRejected as rejection:
                item.reason = rejection.reason
                self._refuse(item, "rejected", rejection, context)
            except Exception as error:
                self._fail(item, "network", error, context)
            item.network_s = time.perf_counter() - started_s

    def _stacks(self, items: list[Item]) -> Iterator[list[Item]]:
        """Tell which pictures to judge together: equally large ones, where that pays."""
        limit_px = self._scorer.runtime.stacks_up_to_px
        by_shape: dict[tuple[int, ...], list[Item]] = {}
        for item in items:
            assert item.pixels is not None  # it is readable
            if item.pixels.shape[0] * item.pixels.shape[1] > limit_px:
                yield [item]
            else:
                by_shape.setdefault(item.pixels.shape, []).append(item)
        yield from by_shape.values()

    def _expect_fresh(self, item: Item, context: Any, now_s: float) -> None:
        """
        Measure how long a request has waited.

        Raises:
            NotScored: Too long (503); its client will have given up.
        """
        started = header_in(context.get_all_request_header(item.index), *START_HEADERS)
        if started:
            item.waited_s = waited_s(started, now_s)
        if item.waited_s is not None and item.waited_s > self._max_age_s:
            context.set_response_header(item.index, "Retry-After", "1")
            raise NotScored(
                "expired",
                f"request: expected it within {self._max_age_s} s of its arrival, got it after "
                f"{item.waited_s:.1f} s in the queue. Send it again, at a lower rate.",
            )

    def _refuse(
        self, item: Item, outcome: str, error: ImageRejected | NotScored, context: Any
    ) -> None:
        item.outcome, item.status, item.reply = outcome, error.status, error.body()
        context.set_response_status(error.status, error.reason, idx=item.index)

    def _fail(self, item: Item, fault: str, error: Exception, context: Any) -> None:
        """
        Answer one request with 500, and put the traceback where the log takes it.

        Raises:
            Exception: The same one, where the machine is at its end: TorchServe then answers 507.
        """
        if isinstance(error, MemoryError) or "CUDA" in str(error):
            raise error
        item.reason, item.error = fault, "".join(traceback.format_exception(error))
        failed = NotScored(
            "failed",
            "server: expected a score, got an error that is not the picture's. Tell whoever runs "
            f"it this id, which stands in its log: {request_id(context, item.index)}",
        )
        self._refuse(item, "failed", failed, context)

    def _describe(self) -> dict[str, Any]:
        runtime = {"name": self._scorer.runtime.name, "precision": self._scorer.runtime.precision}
        return {**self.provenance, "runtime": runtime}

    def _is_describe(self, row: Mapping[str, Any], context: Any, index: int) -> bool:
        """
        Tell the management API's `?customized=true` from a prediction.

        Both come as a header, which a client can send as well: with a picture it is ignored,
        without one it shows what anyone may know.
        """
        headers = context.get_all_request_header(index)
        return header_in(headers, "describe") == "True" and not any(row.values())


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the handler's part of the configuration; refuse settings that nothing reads."""
    settings = dict(config.get("handler") or {})
    unknown = sorted(set(settings) - SETTINGS)
    if unknown:
        raise ValueError(
            f"model-config.yaml, handler: expected {', '.join(sorted(SETTINGS))}, "
            f"got {', '.join(unknown)}."
        )
    for name in SETTINGS - {"runtime", *THRESHOLDS}:
        if name in settings and not (isinstance(settings[name], int) and settings[name] > 0):
            raise ValueError(f"{name}: expected an integer above 0, got {settings[name]!r}.")
    return settings
