"""
Give a new version the requests by and by: `python -m scripts.deploy sync --canary 5,25,100`.

The old version stays the default one until the last step has passed, and answers what the new one
does not. In each step both are compared (`candidate_verdict.py`). A version that is outside of the
bounds, whose worker dies or that misses a golden image loses all requests at once and is
quarantined.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scripts.archive import golden
from scripts.archive.golden import Golden
from scripts.nginx.split import Split, SplitFront
from scripts.rollout import candidate_verdict
from scripts.rollout.candidate_counts import Evidence
from scripts.rollout.candidate_trial import on_trial
from scripts.rollout.candidate_verdict import Arm, Bounds
from scripts.rollout.deployment_records import Good, Record, Trial
from scripts.rollout.settings import CanarySteps, Deployment, Superseded, VersionFailed
from scripts.rollout.wanted_version import Wanted, expect_still_wanted
from scripts.server.client import Loaded
from scripts.server.http_client import NoAnswer, NotNow, is_full

logger = logging.getLogger(__name__)

POLL_S: Final = 0.5
PROBE_S: Final = 4.0
"""A golden image is scored within this time; clients' requests wait a little longer."""
ASK_S: Final = 10.0
"""How often MLflow is asked whether the version is still wanted."""
SAY_S: Final = 60.0
LONGEST: Final = 3.0
"""A step ends after so many times its length where there are too few requests to judge by."""


@contextmanager
def rolled_out(
    plan: Deployment, target: Wanted, good: Good, loaded: Loaded, old: Loaded, pictures: Golden
) -> Iterator[None]:
    """
    Pass all steps; in the block the version gets all requests, and is to become the default one.

    Args:
        plan: See `Deployment`; has `canary`.
        target: What is wanted.
        good: The candidate and its archive.
        loaded: The candidate.
        old: The version that is served.
        pictures: What the candidate must answer.

    Raises:
        VersionFailed: It does worse than the old version.
        Superseded: Another version is wanted meanwhile, or a rollback came.
        NotNow: The server or the front was started again, or there were too few requests.
    """
    assert plan.canary is not None
    split = Split(
        kind="canary", model_name=plan.model_name, version=good.version, shares=plan.canary.shares
    )
    with on_trial(plan, split, old) as front:
        canary = _Canary(plan, plan.canary, split, front, target, loaded, old, pictures)
        for step in range(1, len(split.shares) + 1):
            canary.take(step)
        yield


class _Canary:
    """The steps of one candidate."""

    def __init__(
        self,
        plan: Deployment,
        steps: CanarySteps,
        split: Split,
        front: SplitFront,
        target: Wanted,
        loaded: Loaded,
        old: Loaded,
        pictures: Golden,
    ) -> None:
        self._plan, self._steps, self._split, self._front = plan, steps, split, front
        self._target, self._loaded, self._old, self._pictures = target, loaded, old, pictures
        self._bounds = Bounds(
            score_shift=steps.score_shift, looks=max(1, round(LONGEST * steps.step_s / POLL_S))
        )
        self._probes = 0
        self._asked_s = time.monotonic()
        self._old_before = Arm()

    def take(self, step: int) -> None:
        """Give the candidate the share of a step, and judge it; return once the step is passed."""
        share, version = self._split.shares[step - 1], self._split.version
        begin_s = said_s = time.monotonic()
        evidence = Evidence(self._plan.server, self._front, version, self._old.version)
        with self._plan.records.changing() as record:  # a rollback comes before, or after
            self._expect_not_held(record)
            record.trial = Trial(
                kind="canary", version=version, share=share,
                step=step, steps=len(self._split.shares), since_s=time.time(),
            )  # fmt: skip
            self._front.give(step)
        logger.info(
            "version %s: gets %g %% of the requests, step %d of %d, %g s",
            version, share, step, len(self._split.shares), self._steps.step_s,
        )  # fmt: skip
        while True:
            time.sleep(POLL_S)
            self._expect_wanted()
            self._expect_alive()
            self._probe(evidence)
            new, old = evidence.look()
            if share == 100:  # nobody asks the old version: what it did in the step before
                old = self._old_before
            now_s = time.monotonic()
            is_over = now_s - begin_s >= self._steps.step_s
            is_last = is_over and new.asked >= self._steps.min_answers
            reason = candidate_verdict.fault(new, old, self._bounds, is_last=is_last)
            if reason is not None:
                raise VersionFailed(f"version {version}: at {share:g} % of the requests {reason}")
            if is_last:
                self._old_before = dataclasses.replace(old)
                logger.info("version %s: passed at %g %%: %s", version, share, compared(new, old))
                return
            if now_s - begin_s >= LONGEST * self._steps.step_s:
                raise NotNow(
                    f"version {version}: expected at least {self._steps.min_answers} requests to "
                    f"judge it by at {share:g} %, got {new.asked} in {now_s - begin_s:.0f} s. "
                    "Give it longer steps or a larger share, or leave --canary out."
                )
            if now_s - said_s >= SAY_S:
                said_s = now_s
                logger.info("version %s: %.0f s: %s", version, now_s - begin_s, compared(new, old))

    def _expect_not_held(self, record: Record) -> None:
        hold = record.hold
        if hold is not None and hold.version != self._split.version:
            raise Superseded(f"version {self._split.version}: a rollback came meanwhile")

    def _expect_wanted(self) -> None:
        self._expect_not_held(self._plan.records.read())
        if not self._front.is_ours(self._split):
            raise NotNow(
                "front: expected the one that splits the requests, got it started again. The next "
                "sync begins anew."
            )
        if time.monotonic() - self._asked_s >= ASK_S:
            self._asked_s = time.monotonic()
            expect_still_wanted(self._plan, self._target)

    def _expect_alive(self) -> None:
        """Check that the server is the same, and the candidate's workers too."""
        version, default = self._split.version, self._plan.server.default()
        found = self._plan.server.find(version)
        if default is None or found is None:
            raise NotNow(
                f"version {version}: expected it loaded beside version {self._old.version}, got "
                "the server started again. The next sync begins anew."
            )
        if default.version != self._old.version:
            raise Superseded(f"version {version}: another one is the default meanwhile")
        if found.pids != self._loaded.pids or found.ready < self._loaded.ready:
            raise VersionFailed(
                f"version {version}: expected its {self._loaded.ready} workers to live, got one "
                "dead while it had a share of the requests. See model_log.log of the server."
            )

    def _probe(self, evidence: Evidence) -> None:
        """Hold the candidate to a golden image."""
        version, pictures = self._split.version, self._pictures
        index = self._probes % len(pictures.pictures)
        self._probes += 1
        image = pictures.pictures[index][1]
        try:
            code, reply = self._plan.server.score(image, version, timeout_s=PROBE_S, room_s=0.0)
        except NoAnswer as error:
            self._plan.server.score(image, timeout_s=PROBE_S, room_s=0.0)  # else it is the server
            raise VersionFailed(
                f"version {version}: expected a score of a golden image within {PROBE_S:g} s, got "
                f"no answer, while version {self._old.version} answers."
            ) from error
        if is_full(code, reply):
            return
        try:
            pictures.compare(index, code, reply)
        except golden.NotGolden as error:
            raise VersionFailed(f"version {version}: {error}") from error
        evidence.leave_out(pictures.counted_as(reply))


def compared(new: Arm, old: Arm) -> str:
    """Return both versions' figures for a person."""
    told = [
        f"{arm.asked} requests, {arm.failed} failed, {arm.refused} refused, "
        f"p50 {1000 * arm.quantile_s(0.5):.0f} ms, p95 {1000 * arm.quantile_s(0.95):.0f} ms"
        for arm in (new, old)
    ]
    apart = 100 * candidate_verdict.shift(new.scores, old.scores)
    return f"{told[0]}; the old version {told[1]}; scores up to {apart:.1f} points of share apart"
