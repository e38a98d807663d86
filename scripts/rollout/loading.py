"""
Load a version beside the one that is served, and prove it there.

Nothing here asks MLflow, so that a rollback need not wait for its import.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from scripts.archive import golden, mar_file
from scripts.rollout import capacity, drain
from scripts.rollout.records import Good
from scripts.rollout.terms import Deployment, VersionFailed
from scripts.server.client import Loaded, LoadRefused, NotNow
from scripts.server.process import load_failure

logger = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.1
LOG_DELAY_S: Final = 0.5
"""TorchServe writes its log behind."""


def expect_unaltered(plan: Deployment, good: Good) -> None:
    """
    Check the archive of a version that was served before, against our own record.

    Raises:
        NotNow: It is gone, or has other bytes.
    """
    mar = plan.store / good.mar
    if not mar.exists() or mar_file.sha256_of(mar) != good.sha256:
        raise NotNow(
            f"{good.mar}: expected the archive with sha256 {good.sha256}, got another or none. "
            f"Rebuild: python -m scripts.build_mar --version {good.version} --replace"
        )


def load(plan: Deployment, good: Good, beside: Loaded | None) -> Loaded:
    """
    Load a version and wait for its workers; one that is loaded from the same bytes is taken.

    Its workers start one after the other: each takes most of a second of a core, and `beside` has
    to go on answering meanwhile.

    Args:
        plan: See `Deployment`.
        good: The version and its archive, whose digest was checked.
        beside: A loaded version, whose workers tell how many the new one needs, and how much
            memory; None: as many as the server's setting says, all at once.

    Raises:
        VersionFailed: It does not load.
        NotNow: There is no room, or the server does not answer.
    """
    server, mar = plan.server, plan.store / good.mar
    workers = len(beside.pids) if beside else None
    if server.find(good.version) is not None:
        try:
            left_over = _wait_until_ready(plan, good, log_bytes=None)
        except VersionFailed:  # a load of a sync that was killed goes on, and may fail
            left_over = None
        if left_over is not None and golden.is_same(mar, server.provenance(good.version)):
            return _complete(plan, good, left_over, workers, log_bytes=None)
        # Nobody is served by it: a sync was killed, or the archive was replaced.
        if not drain.unload_idle(plan, good.version, plan.longest_request_s):
            raise NotNow(f"version {good.version}: expected to load it anew, got it in use.")
    capacity.expect_room(mar, beside, plan.state.temporary if plan.is_local else None)
    logger.info("version %s: loading %s", good.version, good.mar)
    begin_s = time.monotonic()
    log = plan.state.model_log
    log_bytes = log.stat().st_size if plan.is_local and log.exists() else None
    try:
        server.load(good.mar, None if workers is None else 1)
    except LoadRefused as error:
        raise VersionFailed(f"version {good.version}: {error}") from error
    loaded = _wait_until_ready(plan, good, log_bytes)
    loaded = _complete(plan, good, loaded, workers, log_bytes)
    logger.info(
        "version %s: %d workers ready after %.1f s",
        good.version, loaded.ready, time.monotonic() - begin_s,
    )  # fmt: skip
    return loaded


def prove(plan: Deployment, good: Good, loaded: Loaded, *, is_warm: bool) -> golden.Golden:
    """
    Warm up every worker with the golden pictures and hold the scores to those on record.

    Args:
        plan: See `Deployment`.
        good: The version and its archive.
        loaded: It, ready.
        is_warm: Its workers have scored before.

    Returns:
        The pictures, for the time after.

    Raises:
        VersionFailed: A score is not as proven.
        NotNow: No answer.
    """
    try:
        told = plan.server.provenance(good.version)
        pictures = golden.golden_of(plan.store / good.mar, good.version, told)
        largest = golden.score_all(plan.server, pictures, 0 if is_warm else len(loaded.pids))
    except ValueError as error:
        raise VersionFailed(f"version {good.version}: {error}") from error
    logger.info(
        "version %s: golden pictures within %.3f of a point (allowed: %g)",
        good.version, largest, pictures.tolerance,
    )  # fmt: skip
    return pictures


def _complete(
    plan: Deployment, good: Good, loaded: Loaded, workers: int | None, log_bytes: int | None
) -> Loaded:
    """Add workers to a version, one by one, until it has so many; None: as many as it has."""
    while workers is not None and len(loaded.pids) < workers:
        more = len(loaded.pids) + 1
        plan.server.scale(good.version, more)
        loaded = _wait_until_ready(plan, good, log_bytes, more)
    return loaded


def _wait_until_ready(
    plan: Deployment, good: Good, log_bytes: int | None, workers: int = 1
) -> Loaded:
    """
    Wait until all workers of a version can answer.

    Args:
        plan: See `Deployment`.
        good: The version.
        log_bytes: Size of the workers' log before; None where it is not ours to read.
        workers: At least so many.

    Raises:
        VersionFailed: A worker died over it: TorchServe would start it again for 5 minutes.
        NotNow: Somebody unloaded it.
    """
    got = "fewer"
    pids: dict[int, int] = {}  # by the worker's place
    begin_s = time.monotonic()
    while time.monotonic() < begin_s + READY_TIMEOUT_S:
        loaded = plan.server.find(good.version)
        if loaded is None:
            raise NotNow(f"version {good.version}: expected it to load, got it unloaded.")
        if loaded.is_ready and len(loaded.pids) >= workers:
            return loaded
        has_died = any(
            pid > 0 and pids.setdefault(place, pid) != pid for place, pid in enumerate(loaded.pids)
        )
        if has_died:
            got = "one that died"
            time.sleep(LOG_DELAY_S)
        cause = None
        if log_bytes is not None:
            thread = f"{plan.model_name}_{good.version}"
            cause = load_failure(plan.state.model_log, log_bytes, thread)
        if cause:
            got = f"one that said: {cause.rstrip('.')}"
        if has_died or cause:
            break
        time.sleep(POLL_S)
    raise VersionFailed(
        f"version {good.version}: expected its workers ready within {READY_TIMEOUT_S:g} s, got "
        f"{got}. See {plan.state.model_log.name} of the server."
    )
