"""
What `python -m scripts.deploy sync --watch` tells Prometheus: what is wanted, what is served.

Each scrape asks TorchServe, briefly. It does not ask MLflow but repeats its last answer, because a
scrape that waited for an absent registry would report nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client.core import Metric

from scripts.nginx.split import SplitFront
from scripts.rollout.deployment_records import Record, Records
from scripts.rollout.follow_alias import OUTCOMES, Outcome
from scripts.rollout.settings import Deployment
from scripts.server.client import Loaded
from scripts.server.exposition import CONTENT_TYPE, counter, gauge, joined, page
from scripts.server.health import Answer
from scripts.server.http_client import NotNow

ASK_TIMEOUT_S: Final = 3.0
"""A scrape ends after 10 s."""


def answer_of(models: Sequence[SidecarMetrics]) -> Answer:
    """Answer GET /metrics for all models that are followed."""
    metrics = joined(family for model in models for family in model.families())
    return Answer(status=200, body=page(metrics), content_type=CONTENT_TYPE)


class SidecarMetrics:
    """
    Counts the rounds, and answers GET /metrics.

    Args:
        find: Tells what is deployed where, anew for each scrape.
        alias: The alias that is followed.
        records: Records of the model's deployments.
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
            if outcome in (
                "served",
                "refused",
                "held",
                "registry_away",
            ):  # the others may not have asked
                self._is_registry_there = outcome != "registry_away"

    def families(self) -> list[Metric]:
        """Ask TorchServe, and return all metrics; what is not known is left out."""
        served: Loaded | None = None
        held_back: float | None = None
        with contextlib.suppress(NotNow):  # else no version and no ready worker
            plan = self._find()
            refusal = plan.fleet.refusal() if plan.fleet is not None else None
            held_back = float(refusal.version) if refusal else 0.0
            served = plan.server.default(ASK_TIMEOUT_S)
        record = self._records.read()
        wanted = record.alias_version
        with self._lock:
            rounds = dict(self._rounds)
            last_success_s, is_registry_there = self._last_success_s, self._is_registry_there
        model = {"model_name": self._records.model_name}

        def of_model(value: float | None) -> list[tuple[dict[str, str], float]]:
            return [] if value is None else [(model, float(value))]

        return [
            gauge(
                "iqa_alias_version", "Version that the alias named when MLflow was last asked.",
                [({"alias": self._alias, **model}, float(wanted))] if wanted else [],
            ),
            gauge(
                "iqa_served_version", "Version that unversioned requests get.",
                of_model(float(served.version) if served else None),
            ),
            gauge(
                "iqa_ready_workers", "Of the served version, those that can answer.",
                of_model(served.ready if served else 0),
            ),
            gauge(
                "iqa_queue_requests", "Requests that wait for the served version.",
                of_model(served.queue if served else None),
            ),
            counter(
                "iqa_sync_rounds_total", "Looks at the alias, by what came of them.",
                [({"outcome": name, **model}, float(n)) for name, n in rounds.items()],
            ),
            gauge(
                "iqa_sync_last_success_timestamp_seconds",
                "When the wanted version was last found to be served.", of_model(last_success_s),
            ),
            gauge(
                "iqa_quarantined_version", "Version in quarantine; 0: none.",
                of_model(float(record.quarantine.version) if record.quarantine else 0.0),
            ),
            gauge(
                "iqa_fleet_refused_version",
                "Version that a server of the fleet refused, so the others leave it; 0: none.",
                of_model(held_back),
            ),
            gauge(
                "iqa_held_version", "Version of a rollback that MLflow does not know; 0: none.",
                of_model(float(record.hold.version) if record.hold else 0.0),
            ),
            gauge(
                "iqa_trial_share",
                "Share of the requests that a version answers beside the served one, or sees "
                "copies of; 0: no such version.", self._trial(record, model),
            ),
            gauge(
                "iqa_registry_reachable", "Whether MLflow answered when last asked.",
                None if is_registry_there is None else float(is_registry_there),
            ),
        ]  # fmt: skip

    def _trial(self, record: Record, model: dict[str, str]) -> list[tuple[dict[str, str], float]]:
        """Return both kinds, so that an end is seen as such."""
        shares = {"canary": 0.0, "shadow": 0.0}
        if record.trial is not None and SplitFront(self._records.state.front).gives():
            shares[record.trial.kind] = record.trial.share / 100
        return [({"kind": kind, **model}, share) for kind, share in shares.items()]
