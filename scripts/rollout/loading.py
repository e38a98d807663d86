"""
Load a version beside the one that is served, and prove it there.

Nothing here asks MLflow, so that a rollback need not wait for its import.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from scripts.archive import golden, mar_file
from scripts.rollout import capacity, drain, unload
from scripts.rollout.deployment_records import Good
from scripts.rollout.settings import Deployment, VersionFailed
from scripts.server.client import Loaded, LoadRefused
from scripts.server.http_client import NotNow, get_json
from scripts.server.log_lines import load_failure

logger = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.1
FREED_S: Final = 5.0
"""How long the workers of an unloaded version may take to end, and the memory to be free."""
LOG_DELAY_S: Final = 5.0
"""How long TorchServe's log may lag behind a worker's death, whose cause it tells."""


def expect_unaltered(plan: Deployment, good: Good) -> mar_file.Reading:
    """
    Check the archive of a version that was served before, against our own record.

    Returns:
        The reading that its digest is of.

    Raises:
        NotNow: It is gone, or has other bytes.
    """
    mar = plan.store / good.mar
    reading = mar_file.Reading(mar) if mar.exists() else None
    if reading is None or reading.sha256 != good.sha256:
        raise NotNow(
            f"{good.mar}: expected the archive with sha256 {good.sha256}, got another or none. "
            f"Rebuild: python -m scripts.build_mar --model-name {plan.model_name} "
            f"--version {good.version} --replace"
        )
    return reading


def load(plan: Deployment, good: Good, beside: Loaded | None, reading: mar_file.Reading) -> Loaded:
    """
    Load a version and wait for its workers; one that is loaded from the same bytes is taken.

    Its workers start one after the other: each takes most of a second of a core, and `beside` has
    to go on answering meanwhile.

    Args:
        plan: See `Deployment`.
        good: The version and its archive, whose digest was checked.
        beside: A loaded version, whose workers tell how many the new one needs, and how much
            memory; None: as many as the server's setting says, all at once.
        reading: The archive's reading from when its digest was checked.

    Raises:
        VersionFailed: It does not load.
        NotNow: There is no room, the server does not answer, or another archive lies there now.
    """
    loaded = _load(plan, good, beside)
    if not reading.is_current():
        raise NotNow(
            f"{good.mar}: expected the archive that was checked, got another one put in its place "
            "while it was loaded. The next sync checks that one."
        )
    return loaded


def take_away(plan: Deployment, version: str, *, is_only: bool = False) -> None:
    """Unload a version that was loaded just now; only our own pictures were sent to it."""
    try:
        if is_only:  # the first one of an empty server became its default by itself
            plan.server.unload(version)
        elif plan.server.find(version) is not None:
            drain.unload_idle(plan, version, 0.0)
    except (
        NotNow,
        OSError,
        TimeoutError,
    ) as error:  # the reason is on its way; the next sync tidies
        logger.warning("version %s stays loaded for now: %s", version, error)


def _load(plan: Deployment, good: Good, beside: Loaded | None) -> Loaded:
    server, mar = plan.server, plan.store / good.mar
    workers = len(beside.pids) if beside else None
    if server.find(good.version) is not None:
        try:
            left_over = _wait_until_ready(plan, good, log_bytes=None)
        except VersionFailed:  # a load of a sync that was killed goes on, and may fail
            left_over = None
        if left_over is not None and golden.is_same(mar, server.provenance(good.version)):
            return _complete(plan, good, left_over, workers, log_bytes=None)
        # Nobody is served by it: a sync was killed, its workers died, or the archive was replaced.
        if not drain.unload_idle(plan, good.version, plan.longest_request_s, even_if_held=True):
            raise NotNow(f"version {good.version}: expected to load it anew, got it in use.")
    _make_room(plan, mar, beside)
    logger.info("version %s: loading %s", good.version, good.mar)
    begin_s = time.monotonic()
    log = plan.state.model_log
    log_bytes = log.stat().st_size if plan.is_local and log.exists() else None
    try:
        server.load(good.mar, _first_workers(plan) if workers is None else 1)
    except LoadRefused as error:
        raise VersionFailed(f"version {good.version}: {error}") from error
    loaded = _wait_until_ready(plan, good, log_bytes)
    loaded = _complete(plan, good, loaded, workers, log_bytes)
    logger.info(
        "version %s: %d workers ready after %.1f s",
        good.version, loaded.ready, time.monotonic() - begin_s,
    )  # fmt: skip
    return loaded


def _first_workers(plan: Deployment) -> int | None:
    """Return how many workers a model of which nothing is loaded should have; None: not known."""
    running = plan.state.server() if plan.is_local else None
    if running is not None:
        numbers = {model.name: model.workers for model in running.wanted}
        return numbers.get(plan.model_name)
    if plan.health_url is None:
        return None
    try:
        told = get_json(f"{plan.health_url}/models").get(plan.model_name)
    except NotNow:
        return None
    return int(told["wanted_workers"]) if told else None


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


def _make_room(plan: Deployment, mar: Path, beside: Loaded | None) -> None:
    """
    Check that there is room; where retired versions take it, wait until they are unloaded.

    Raises:
        NotNow: There is none, with nothing left to be unloaded.
    """
    deadline: float | None = None
    while True:
        try:
            capacity.expect_room(mar, beside, plan.state.temporary if plan.is_local else None)
            return
        except NotNow as short:
            left = unload.retired(plan)
            if not left and (deadline is None or time.monotonic() > deadline):
                raise
            if left and deadline is None:
                logger.info(
                    "%s Waiting until version %s is drained and unloaded", short, ", ".join(left)
                )
        if deadline is None:
            unload.unload_all(plan, is_sync=True)
            deadline = time.monotonic() + FREED_S
        time.sleep(POLL_S)


def _complete(
    plan: Deployment, good: Good, loaded: Loaded, workers: int | None, log_bytes: int | None
) -> Loaded:
    """Add workers to a version one by one up to a number; None: as many as it has."""
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
        cause = _cause(plan, good, log_bytes, LOG_DELAY_S if has_died else 0.0)
        if cause:
            got = f"one that said: {cause.rstrip('.')}"
        if has_died or cause:
            break
        time.sleep(POLL_S)
    raise VersionFailed(
        f"version {good.version}: expected its workers ready within {READY_TIMEOUT_S:g} s, got "
        f"{got}. See {plan.state.model_log.name} of the server."
    )


def _cause(plan: Deployment, good: Good, log_bytes: int | None, wait_s: float) -> str | None:
    """Return what a version's workers say of their failure, where the log is ours to read."""
    if log_bytes is None:
        return None
    thread = f"{plan.model_name}_{good.version}"
    deadline_s = time.monotonic() + wait_s
    while True:
        cause = load_failure(plan.state.model_log, log_bytes, thread)
        if cause is not None or time.monotonic() >= deadline_s:
            return cause
        time.sleep(POLL_S)
