"""
What a sync leaves to be done once it serves: unload what serves no more, load the version before.

A caller that waits for the new version need not wait for this. A small background process, the loop
of `sync --watch`, or the next sync does it; all do the same, and nothing is done twice.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from typing import Final

from console.paths import ROOT
from scripts.rollout import deployment_records, loading, unload
from scripts.rollout.deployment_records import Good
from scripts.rollout.settings import Deployment, VersionFailed
from scripts.server.http_client import NoAnswer, NotNow

logger = logging.getLogger(__name__)

LOG_FILE: Final = "tidy.log"


def due(plan: Deployment) -> str:
    """Describe the work that is left ("unloads version 1 in about 30 s"); empty if none is."""
    acts = [
        f"unloads version {version} in about {left_s:.0f} s"
        for version, left_s in unload.remaining_s(plan).items()
    ]
    previous = _missing_standby(plan)
    acts += [f"loads version {previous.version} for a rollback"] if previous else []
    return " and ".join(acts)


def tidy(plan: Deployment, stop: threading.Event | None = None) -> None:
    """
    Unload the retired versions, each once it is idle, and load the version before if it is not.

    The lock of syncs is taken for the unloading and the loading, and not while waiting.

    Args:
        plan: See `Deployment`.
        stop: Set where waiting is to end; what is left is left to whoever comes next.

    Raises:
        NotNow: The server does not answer.
        TimeoutError: Another process does this already, and does not end; at once, with `stop`.
    """
    wait_s = deployment_records.SYNC_WAIT_S if stop is None else 0.0
    with plan.records.one_tidying_at_a_time(wait_s):
        unload.unload_all(plan, stop)
        if stop is not None and stop.is_set():
            return
        if _missing_standby(plan) is not None:
            with plan.records.one_sync_at_a_time():
                _keep_standby(plan)


def go_behind(plan: Deployment, words: list[str], act: str) -> None:
    """
    Start a command of `scripts.deploy` that goes on when this process and its terminal are gone.

    Args:
        plan: See `Deployment`; its state's folder gets the log.
        words: The command and its options.
        act: What it does, for people.
    """
    path = plan.state.log_dir / LOG_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {act}\n")
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.deploy", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        logger.warning("%s is left to the next sync: %s", words[0], error)
        return
    process.returncode = 0  # not ours to wait for; else its end is warned of
    logger.info("behind: process %d %s (%s)", process.pid, act, LOG_FILE)


def _missing_standby(plan: Deployment) -> Good | None:
    """Return the previous version if it should be loaded for a fast rollback and is not."""
    record = plan.records.read()
    previous = record.previous() if plan.keeps_previous else None
    if previous is None or previous.version == record.no_standby:
        return None
    return previous if plan.server.find(previous.version) is None else None


def _keep_standby(plan: Deployment) -> None:
    """Load the previous version, for a fast rollback, if a restart of the server dropped it."""
    previous = _missing_standby(plan)
    if previous is None:  # a sync came first
        return
    try:
        reading = loading.expect_unaltered(plan, previous)
        loaded = loading.load(plan, previous, plan.server.default(), reading)
        loading.prove(plan, previous, loaded, is_warm=False)
    except NoAnswer:  # the server went away, which says nothing of the version: a later round
        raise
    except (NotNow, VersionFailed) as error:
        with plan.records.changing() as record:
            record.no_standby = previous.version
        logger.warning("no version is kept for a rollback at once: %s", error)
        if isinstance(error, VersionFailed):
            loading.take_away(plan, previous.version)
