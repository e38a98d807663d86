"""
Let a candidate see copies of requests: `python -m scripts.deploy sync --shadow 10`.

Clients get the old version's answers alone. Both versions' answers are in the prediction log, under
the request's id, so each copy is compared with what the client got.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from scipy import stats

from scripts.nginx.split import Split
from scripts.prediction_log.reading import flat, lines_of, segments
from scripts.rollout import candidate_trial, loading, unload
from scripts.rollout.candidate_counts import Evidence
from scripts.rollout.candidate_verdict import Arm
from scripts.rollout.deployment_records import Trial
from scripts.rollout.settings import Deployment, Superseded, VersionFailed
from scripts.rollout.wanted_version import find_archive, wanted
from scripts.server import prediction_log
from scripts.server.client import Loaded
from scripts.server.http_client import NotNow

logger = logging.getLogger(__name__)

POLL_S: Final = 0.5
NICER: Final = 10
WRITTEN_S: Final = 3.0
"""After the last copy: the candidate scores it, and its row is written twice a second."""
SCORED: Final = "iqa.prediction.scored"
COVERAGE: Final = 0.95
"""Of the intervals."""


def compare(plan: Deployment, percent: float, step_s: float) -> str:
    """
    Send the wanted version copies for a time; it does not serve, and is unloaded afterwards.

    Args:
        plan: See `Deployment`.
        percent: Share of the requests that is copied.
        step_s: For how long.

    Returns:
        The report.

    Raises:
        VersionFailed: The version does not load, score as proven, or live; it is not quarantined.
        Superseded: A rollback came.
        NotNow: There is no front or no prediction log here, the version is served already, or the
            server was started again.
    """
    candidate_trial.expect_front(plan)
    folder = _log_of(plan)
    with plan.records.one_sync_at_a_time():
        if plan.records.read().trial is not None:
            candidate_trial.forget(plan)
        target, served = wanted(plan), plan.server.default()
        if served is None or served.version == target.version:
            raise NotNow(
                f"--shadow: expected another version than the one served, got {target.version} for "
                f"both. Let {plan.alias} name the one to be looked at"
            )
        try:
            good, reading = find_archive(plan, target, retry=False)
            loaded = loading.load(plan, good, served, reading)
            loading.prove(plan, good, loaded, is_warm=False)
            split = Split(
                kind="shadow", model_name=plan.model_name, version=good.version, shares=(percent,)
            )
            return _watched(plan, split, loaded, served, folder, step_s)
        finally:
            with contextlib.suppress(NotNow, OSError):  # the next sync marks it
                unload.mark(plan)


def _log_of(plan: Deployment) -> Path:
    server = plan.state.server()
    folder = prediction_log.folder_of(server) if server is not None else None
    if folder is None:
        raise NotNow(
            "--shadow: expected a server with a prediction log, by which copies are compared with "
            "what clients got; got none. Start it so: scripts/run_torchserve.sh "
            "--prediction-log predictions"
        )
    return Path(folder)


def _watched(
    plan: Deployment, split: Split, loaded: Loaded, served: Loaded, folder: Path, step_s: float
) -> str:
    with candidate_trial.on_trial(plan, split, served) as front:
        evidence = Evidence(plan.server, front, split.version, served.version)
        _let_others_first(loaded)
        began_at_s, cpu_s, begin_s = time.time(), _cpu_s(loaded), time.monotonic()
        with plan.records.changing() as record:
            record.trial = Trial(
                kind="shadow", version=split.version, share=split.shares[0],
                step=1, steps=1, since_s=began_at_s,
            )  # fmt: skip
        front.give(1)
        logger.info(
            "version %s: gets copies of %g %% of the requests, %g s",
            split.version, split.shares[0], step_s,
        )  # fmt: skip
        while time.monotonic() - begin_s < step_s:
            time.sleep(min(POLL_S, step_s))
            _expect_alive(plan, split, loaded, served)
            if not front.is_ours(split):
                raise NotNow("front: expected the one that copies requests, got it started again.")
        front.take_back()
        took_s = time.monotonic() - begin_s
        time.sleep(WRITTEN_S)
        _, old = evidence.look()
        spent_s = _cpu_s(loaded) - cpu_s
    rows = rows_since(folder, began_at_s, plan.model_name)
    found = paired(rows, served.version, split.version)
    return "\n".join(
        [
            f"version {split.version} beside version {served.version}, copies of "
            f"{split.shares[0]:g} % of the requests for {took_s:.0f} s; version "
            f"{served.version} serves",
            *report(found),
            cost(found, old, spent_s, took_s),
        ]
    )


def _expect_alive(plan: Deployment, split: Split, loaded: Loaded, served: Loaded) -> None:
    hold = plan.records.read().hold
    default, found = plan.server.default(), plan.server.find(split.version)
    if hold is not None or default is None or default.version != served.version:
        raise Superseded(f"version {split.version}: another one is served or held meanwhile")
    if found is None:
        raise NotNow(f"version {split.version}: expected it loaded, got it unloaded meanwhile.")
    if found.pids != loaded.pids:
        raise VersionFailed(
            f"version {split.version}: expected its workers to live, got one dead on a copy. See "
            "model_log.log of the server."
        )


def _let_others_first(loaded: Loaded) -> None:
    """
    Lower the priority of the candidate's workers: nobody waits for the answers to copies.

    By ten steps, a tenth of the processor where both want it: at the lowest, a busy machine would
    score hardly any copy. It stays so, as the candidate is unloaded afterwards.
    """
    for pid in loaded.pids:
        with contextlib.suppress(psutil.Error):
            for thread in psutil.Process(pid).threads():  # on Linux each has a priority of its own
                with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to another user
                    nice = os.getpriority(os.PRIO_PROCESS, thread.id)
                    os.setpriority(os.PRIO_PROCESS, thread.id, nice + NICER)


def _cpu_s(loaded: Loaded) -> float:
    total = 0.0
    for pid in loaded.pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def rows_since(folder: Path, began_at_s: float, model_name: str) -> list[dict[str, Any]]:
    """Return a model's rows of a prediction log from a time on, in seconds since 1970."""
    began = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began_at_s))
    return [
        row
        for path in segments(folder).values()
        if path.stat().st_mtime >= began_at_s
        for line in lines_of(path)
        if line.row is not None
        and (row := flat(line.row))["time"] >= began
        and row.get("model") == model_name
    ]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """
    What both versions said of the same requests.

    Attributes:
        scored: (the old version's row, the candidate's), where both scored.
        one_sided: (the old version's row, the candidate's), where one alone did.
        unmatched: Answers of the candidate whose request the old version has no row of, or whose
            id is not theirs alone: its own golden images among them.
    """

    scored: list[tuple[dict[str, Any], dict[str, Any]]]
    one_sided: list[tuple[dict[str, Any], dict[str, Any]]]
    unmatched: int


def paired(rows: Iterable[Mapping[str, Any]], old: str, new: str) -> Pairs:
    """
    Pair the answers of two versions by the request's id.

    A client may give several requests one id: those are left out, as are pairs of which the
    digests say that the pictures differ.
    """
    by_id: dict[str, dict[str, list[dict[str, Any]]]] = {old: {}, new: {}}
    for row in rows:
        answers = by_id.get(str(row.get("version")))
        if answers is not None and "request_id" in row:
            answers.setdefault(str(row["request_id"]), []).append(dict(row))
    pairs = [
        (theirs[0], ours[0])
        for request_id, ours in by_id[new].items()
        if len(ours) == 1
        and len(theirs := by_id[old].get(request_id, [])) == 1
        and theirs[0].get("subject") == ours[0].get("subject")
    ]
    are_scored = [[row["type"] == SCORED for row in pair] for pair in pairs]
    return Pairs(
        scored=[pair for pair, are in zip(pairs, are_scored, strict=True) if all(are)],
        one_sided=[pair for pair, are in zip(pairs, are_scored, strict=True) if sum(are) == 1],
        unmatched=sum(map(len, by_id[new].values())) - len(pairs),
    )


def report(found: Pairs) -> list[str]:
    """Return how the answers differ, a line each."""
    lines = [f"{len(found.scored)} pictures were scored by both"]
    differences = np.array(
        [
            new["score"] - old["score"]
            for old, new in found.scored
            if "score" in old and "score" in new
        ]
    )
    if len(differences) > 1:
        low, high = mean_interval(differences)
        apart = np.abs(differences)
        lines[0] += (
            f": scores differ by {differences.mean():+.2f} points in the mean ({COVERAGE:.0%} "
            f"interval {low:+.2f} to {high:+.2f}), by {apart.mean():.2f} in size, 95 % by at most "
            f"{np.quantile(apart, 0.95):.2f}, the most {apart.max():.2f} (request "
            f"{found.scored[int(apart.argmax())][1]['request_id']})"
        )
    same = sum(old.get("label") == new.get("label") for old, new in found.scored)
    if found.scored:
        low, high = share_interval(same, len(found.scored))
        lines.append(
            f"labels are the same for {same / len(found.scored):.1%} ({COVERAGE:.0%} interval "
            f"{low:.1%} to {high:.1%})"
        )
    only_old = sum(old["type"] == SCORED for old, _ in found.one_sided)
    lines.append(
        f"{only_old} were scored by the old version alone, {len(found.one_sided) - only_old} by "
        f"the new one alone; {found.unmatched} answers of the new one have no partner"
    )
    return lines


def cost(found: Pairs, old: Arm, spent_s: float, took_s: float) -> str:
    """Return what the copies took, and how fast clients were answered meanwhile."""
    copies = max(len(found.scored) + len(found.one_sided) + found.unmatched, 1)
    return (
        f"cost: {1000 * spent_s / copies:.0f} ms of a core a copy, {spent_s / took_s:.2f} cores on "
        f"average; meanwhile the clients of {old.asked} requests waited "
        f"{1000 * old.quantile_s(0.5):.0f} ms at the median and "
        f"{1000 * old.quantile_s(0.99):.0f} at the 99th percentile, "
        f"{old.failed} failed, {old.kept_out} were refused for want of room"
    )


def mean_interval(differences: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the interval of the mean of paired differences, by Student's t."""
    found = stats.ttest_1samp(differences, 0.0).confidence_interval(COVERAGE)
    return float(found.low), float(found.high)


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of a share."""
    found = stats.binomtest(count, n).proportion_ci(COVERAGE, method="wilson")
    return float(found.low), float(found.high)
