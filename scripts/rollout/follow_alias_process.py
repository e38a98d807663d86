"""`python -m scripts.deploy sync --watch` as a process: rounds, webhooks, metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from scripts.rollout.deployment_records import Records
from scripts.rollout.follow_alias import Followed, Outcome, follow
from scripts.rollout.metrics import SidecarMetrics, answer_of
from scripts.rollout.settings import Deployment
from scripts.rollout.webhook import Deliveries, listening
from scripts.server import health
from scripts.server.client import Loaded
from scripts.server.http_client import NotNow
from scripts.server.models import ServedModel
from scripts.server.state import StateDir

logger = logging.getLogger(__name__)

SECRET: Final = "IQA_WEBHOOK_SECRET"


@dataclass(frozen=True, kw_only=True)
class Ears:
    """
    Where a watch listens.

    Attributes:
        webhook_host: Interface for MLflow's webhooks.
        webhook_port: Their port; None: none.
        metrics_host: Interface for GET /metrics.
        metrics_port: Its port; 0: none.
    """

    webhook_host: str
    webhook_port: int | None
    metrics_host: str
    metrics_port: int


def watch(
    models: Sequence[ServedModel],
    find: Callable[[ServedModel], Deployment],
    ears: Ears,
    poll_s: float,
    *,
    retry: bool,
) -> int:
    """
    Follow the aliases of models until TERM or Ctrl-C; return 0.

    Args:
        models: With their aliases.
        find: Tells what is deployed where, anew for each round: a server that is started again
            may be another one.
        ears: Where to listen meanwhile.
        poll_s: Pause between two looks, in seconds.
        retry: Try quarantined versions once more, in the first round.

    Raises:
        ValueError: A webhook's port without its secret.
        OSError: A port is taken.
    """
    state = StateDir.from_environment()
    metrics = [
        SidecarMetrics(
            functools.partial(find, model),
            model.alias,
            Records(state=state, model_name=model.name),
        )
        for model in models
    ]
    followed = [
        Followed(
            name=model.name,
            find=functools.partial(find, model),
            moved=threading.Event(),
            round_ended=told.round_ended,
        )
        for model, told in zip(models, metrics, strict=True)
    ]
    with contextlib.ExitStack() as stack:
        followed = [
            dataclasses.replace(one, round_ended=_Present(one, stack).round_ended)
            for one in followed
        ]
        if ears.webhook_port is not None:
            secret = os.environ.get(SECRET)
            if not secret:
                raise ValueError(f"{SECRET}: expected the webhook's secret, got none.")
            moved = {
                (model.name, model.alias): one.moved
                for model, one in zip(models, followed, strict=True)
            }
            deliveries = Deliveries(secret, moved)
            stack.enter_context(listening(ears.webhook_host, ears.webhook_port, deliveries))
        pages = {"/metrics": functools.partial(answer_of, metrics)}
        stack.enter_context(health.listening(ears.metrics_host, ears.metrics_port, pages))
        return follow(followed, poll_s, retry=retry)


class _Present:
    """A side-car's place in its fleet, from its first round on: tells what its server serves."""

    def __init__(self, followed: Followed, stack: contextlib.ExitStack) -> None:
        self._followed, self._stack = followed, stack
        self._is_counted = False

    def round_ended(self, outcome: Outcome) -> None:
        """Pass the round on, and tell the others."""
        self._followed.round_ended(outcome)
        served: Loaded | None = None
        try:
            plan = self._followed.find()
            if plan.fleet is None:
                return
            with contextlib.suppress(NotNow):
                served = plan.server.default()
            if not self._is_counted:
                self._stack.enter_context(plan.fleet.present())
                self._is_counted = True
            plan.fleet.tell(served)
        except (NotNow, OSError) as error:  # a TimeoutError too: the name is another's
            logger.warning("the fleet does not know of this server: %s", error)
        except Exception:  # as in a round: a thread that ends follows nothing
            logger.exception("the fleet does not know of this server")
