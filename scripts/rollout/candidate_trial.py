"""
A candidate beside the version that is served: it has a share of the requests, or sees copies.

Needs the front of this machine. Whatever ends a trial, all requests go to the served version at
once; one whose process was killed is taken back by the supervisor and forgotten by the next sync.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.nginx.reload import NoFront
from scripts.nginx.split import Split, SplitFront
from scripts.rollout.deployment_records import Trial
from scripts.rollout.settings import Deployment
from scripts.server.client import Loaded

logger = logging.getLogger(__name__)


@contextmanager
def on_trial(plan: Deployment, split: Split, old: Loaded) -> Iterator[SplitFront]:
    """
    Let the front know a candidate, and forget it at the end, however that comes.

    Args:
        plan: See `Deployment`.
        split: What it gets; nothing yet.
        old: The version that is served.

    Raises:
        NoFront: There is no front here to split the requests.
    """
    front = SplitFront(plan.state.front)
    with plan.records.changing() as record:
        # Nobody may tidy it away, as one that served before.
        record.retired_at_s.pop(split.version, None)
        record.trial = Trial(
            kind=split.kind, version=split.version, share=0.0,
            step=0, steps=len(split.shares), since_s=time.time(),
        )  # fmt: skip
    logger.info("version %s serves on; the front learns of version %s", old.version, split.version)
    try:
        front.begin(split)
        yield front
    finally:
        if front.is_ours(split):  # before anything that may fail
            front.take_back()
        forget(plan)


def expect_front(plan: Deployment) -> None:
    """
    Check that requests can be split, before anything is loaded.

    Raises:
        NoFront: There is no front here.
    """
    supervision = plan.state.supervision()
    if not plan.is_local or supervision is None or supervision.front_port is None:
        raise NoFront(
            "requests can be split by a front alone that scripts/run_torchserve.sh started on this "
            "machine: expected one, got none. Leave --canary or --shadow out"
        )


def forget(plan: Deployment) -> None:
    """End what is left of a trial; where the front cannot, it has no effect any more."""
    front = SplitFront(plan.state.front)
    owner = front.owner()
    try:
        if owner is None or not owner.lives() or owner.model_name == plan.model_name:
            front.end()
    except NoFront as error:
        logger.warning("the front still knows the candidate, which gets nothing: %s", error)
    with plan.records.changing() as record:
        record.trial = None
