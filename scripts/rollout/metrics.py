"""
What `python -m scripts.deploy sync --watch` tells Prometheus: what is wanted, what is served.

TorchServe is asked at each scrape, for a moment; MLflow is not: its answer is that of the last
round, and a scrape that waits for a registry that is away would tell nothing at all.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

from scripts.rollout import drain
from scripts.rollout.reconcile import OUTCOMES, Outcome
from scripts.rollout.records import Records
from scripts.rollout.terms import Deployment
from scripts.server.client import Loaded, NotNow
from scripts.server.health import Answer
from scripts.server.prometheus_text import CONTENT_TYPE, Family, page, single

ASK_TIMEOUT_S: Final = 3.0
"""A scrape ends after 10 s."""


class SidecarMetrics:
    """
    Counts the rounds, and answers GET /metrics.

    Args:
        find: Tells what is deployed where, anew for each scrape.
        alias: That is followed.
        records: Of the model's deployments.
    """

    def __init__(self, find: Callable[[], Deployment], alias: str, records: Records) -> None:
        self._find = find
        self._alias = alias
        self._records = records
        self._lock = threading.Lock()
        self._rounds: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self._last_success_s: float | None = None
        self._is_registry_there: bool | None = None

    def round_ended(self, outcome: Outcome) -> None:
        """Count a round."""
        with self._lock:
            self._rounds[outcome] += 1
            if outcome == "served":
                self._last_success_s = time.time()
            if outcome in ("served", "refused", "registry_away"):  # the others may not have asked
                self._is_registry_there = outcome != "registry_away"

    def answer(self) -> Answer:
        """Answer GET /metrics."""
        return Answer(status=200, body=page(self.families()), content_type=CONTENT_TYPE)

    def families(self) -> list[Family]:
        """Ask TorchServe, and return all metrics; what is not known is left out."""
        served: Loaded | None = None
        with contextlib.suppress(NotNow):  # else not ready, and no version
            served = self._find().server.default(ASK_TIMEOUT_S)
        record, state = self._records.read(), self._records.state
        server = state.server()
        is_draining = drain.is_draining(state, server.started_at_s if server else None)
        ready = served is not None and served.ready > 0 and not is_draining
        wanted = record.alias_version
        with self._lock:
            rounds = [({"outcome": name}, float(n)) for name, n in self._rounds.items()]
            last_success_s, is_registry_there = self._last_success_s, self._is_registry_there
        return [
            Family(
                name="iqa_alias_version", kind="gauge",
                help="Version that the alias named when MLflow was last asked.",
                samples=[({"alias": self._alias}, float(wanted))] if wanted else [],
            ),
            single(
                "iqa_served_version", "gauge", "Version that unversioned requests get.",
                float(served.version) if served else None,
            ),
            single(
                "iqa_ready", "gauge", "Whether a worker of the served version can answer, and no "
                "drain is on.", float(ready),
            ),
            single(
                "iqa_ready_workers", "gauge", "Of the served version, those that can answer.",
                served.ready if served else 0,
            ),
            single(
                "iqa_queue_requests", "gauge", "Requests that wait for the served version.",
                served.queue if served else None,
            ),
            Family(
                name="iqa_sync_rounds_total", kind="counter",
                help="Looks at the alias, by what came of them.", samples=list(rounds),
            ),
            single(
                "iqa_sync_last_success_timestamp_seconds", "gauge",
                "When the wanted version was last found to be served.", last_success_s,
            ),
            single(
                "iqa_quarantined_version", "gauge", "Version in quarantine; 0: none.",
                float(record.quarantine.version) if record.quarantine else 0.0,
            ),
            single(
                "iqa_held_version", "gauge", "Version of a rollback that MLflow does not know; "
                "0: none.", float(record.hold.version) if record.hold else 0.0,
            ),
            single(
                "iqa_registry_reachable", "gauge", "Whether MLflow answered when last asked.",
                None if is_registry_there is None else float(is_registry_there),
            ),
        ]  # fmt: skip
