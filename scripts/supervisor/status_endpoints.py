"""What the supervisor tells anyone who asks at its own port: live, ready, models, metrics."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Final

from scripts.server import exposition, health
from scripts.supervisor.metrics import Census
from scripts.supervisor.readiness import Verdict
from scripts.supervisor.server_across_restarts import LastingServer
from scripts.supervisor.settings import Plan

GIVEN_UP_S: Final = 120.0
"""/live answers 503 after a restart of this length, so that an orchestrator can act."""


class Pages:
    """
    The pages, by their path: `by_path`.

    Args:
        plan: Has the models.
        lasting: TorchServe.
        verdict: Returns whether requests may come: of a model by its name, or of all.
    """

    def __init__(
        self, plan: Plan, lasting: LastingServer, verdict: Callable[[str | None], Verdict]
    ) -> None:
        self._models_wanted, self._lasting, self._verdict = plan.models, lasting, verdict
        self._census = Census(plan.state)

    def by_path(self) -> dict[str, Callable[[], health.Answer]]:
        """Return what answers each path."""
        by_model = {
            f"/ready/{model.name}": functools.partial(self._ready, model.name)
            for model in self._models_wanted
        }
        return {
            "/live": self._live, "/ready": self._ready, **by_model, "/models": self._models,
            "/metrics": self._metrics,
        }  # fmt: skip

    def _ready(self, model_name: str | None = None) -> health.Answer:
        verdict = self._verdict(model_name)
        return health.in_json(200 if verdict.ready else 503, dataclasses.asdict(verdict))

    def _models(self) -> health.Answer:
        """Answer what should be served, and whether it is; a deploy tool elsewhere asks this."""
        document = {
            model.name: {
                "alias": model.alias,
                "wanted_workers": model.workers,
                **dataclasses.asdict(self._verdict(model.name)),
            }
            for model in self._models_wanted
        }
        return health.in_json(200, document)

    def _live(self) -> health.Answer:
        down_since_s = self._lasting.down_since_s
        down_s = time.monotonic() - down_since_s if down_since_s is not None else 0.0
        is_first = self._lasting.restarts == 0 and down_since_s is not None
        is_live = is_first or down_s <= GIVEN_UP_S  # a first start may build an archive
        reason = "starting" if is_first else f"down for {down_s:.0f} s" if down_s else "running"
        document = {"live": is_live, "reason": reason, "restarts": self._lasting.restarts}
        return health.in_json(200 if is_live else 503, document)

    def _metrics(self) -> health.Answer:
        ready = {model.name: self._verdict(model.name).ready for model in self._models_wanted}
        page = self._census.exposition(self._lasting.server, self._lasting.restarts, ready)
        return health.Answer(status=200, body=page, content_type=exposition.CONTENT_TYPE)
