"""
Watch a version after it became the default, while the one before is still warm.

Three things are visible from outside: whether its workers live, whether it still scores the golden
images as proven, and whether the server's share of 5xx rose.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Final

from scripts.archive.golden import Golden
from scripts.rollout.settings import Deployment, Superseded, VersionFailed
from scripts.server.client import Answers, Loaded
from scripts.server.http_client import NotNow, is_full

POLL_S: Final = 0.5
MIN_FAILED: Final = 3
"""Fewer 5xx say nothing: the last ones of the old version may be among them."""
MAX_FAILED_SHARE: Final = 0.01
REPORTED_S: Final = 1.5
"""Workers report what has expired once a second."""
ROOM_S: Final = 5.0
"""How long one of our own images looks for room in the queue: overload is not the version's
fault."""


@dataclass(frozen=True, kw_only=True)
class Failures:
    """How many answers were 5xx, and how many there were."""

    failed: int
    total: int

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.failed / self.total if self.total else 0.0


def between(begin: Answers, end: Answers) -> Failures:
    """Return what was answered between two counts."""
    expired = end.expired - begin.expired  # overload's, and not the version's
    return Failures(failed=end.failed - begin.failed - expired, total=end.total - begin.total)


def expect_default(plan: Deployment, version: str) -> Loaded:
    """
    Return the default version.

    Raises:
        Superseded: It is another one than `version`, or a rollback is about to make it so.
    """
    found, hold = plan.server.default(), plan.records.read().hold
    if found is None or found.version != version or (hold is not None and hold.version != version):
        raise Superseded(f"version {version}: another one is the default meanwhile")
    return found


def watch(plan: Deployment, golden: Golden, loaded: Loaded, usual: Failures) -> None:
    """
    Watch the default version.

    Args:
        plan: See `Deployment`; the version is its server's default for `watch_s` at least.
        golden: What it must answer.
        loaded: The version and its workers, as they were before.
        usual: The failures before it became the default.

    Raises:
        VersionFailed: It does worse than the one before.
        Superseded: It is not the default any more.
        NotNow: The server does not answer.
    """
    server = plan.server
    begin, end_s = server.answers(), time.monotonic() + plan.watch_s
    probes = scored = 0
    while True:
        now = expect_default(plan, golden.version)
        if now.pids != loaded.pids or now.ready < loaded.ready:
            raise VersionFailed(
                f"version {golden.version}: expected its {loaded.ready} workers to live, got one "
                "dead after it became the default. See model_log.log of the server."
            )
        index = probes % len(golden.pictures)
        probes += 1
        code, reply = server.score(golden.pictures[index][1], room_s=ROOM_S)
        if not is_full(code, reply):
            try:
                golden.compare(index, code, reply)
            except ValueError as error:
                expect_default(plan, golden.version)  # else the other one was asked
                raise VersionFailed(f"version {golden.version}: {error}") from error
            scored += 1
        most = max(MAX_FAILED_SHARE, 2 * usual.share)
        counted = server.answers()
        since = between(begin, counted)
        if since.failed >= MIN_FAILED and since.share > most:
            time.sleep(REPORTED_S)
            told = dataclasses.replace(counted, expired=server.answers().expired)
            since = between(begin, told)
        if since.failed >= MIN_FAILED and since.share > most:
            raise VersionFailed(
                f"version {golden.version}: expected at most {MAX_FAILED_SHARE:.0%} of answers to "
                f"be 5xx, or twice the share before ({usual.share:.1%}), got {since.failed} of "
                f"{since.total}."
            )
        if time.monotonic() >= end_s:
            break
        time.sleep(min(POLL_S, max(0.0, end_s - time.monotonic())))
    if not scored:
        raise NotNow(f"version {golden.version}: expected room in its queue, got none.")
