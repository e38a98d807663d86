"""
Back to the good version before, at once: `python -m scripts.deploy rollback`.

The server comes first and MLflow after it. A hold keeps every sync from undoing the rollback until
MLflow knows of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator

from scripts.archive import golden, last_known_alias
from scripts.nginx.split import SplitFront
from scripts.rollout import deployment_records, loading
from scripts.rollout.deployment_records import Good, Hold, Record
from scripts.rollout.settings import Deployment
from scripts.server.http_client import NotNow

logger = logging.getLogger(__name__)


def roll_back(plan: Deployment) -> tuple[str, str]:
    """
    Serve the good version before the default one, say so, and move the alias back.

    Returns:
        The version left, which is loaded and serves no more, and what became of the alias.

    Raises:
        NotNow: No earlier version is on record or its archive is gone; what is served stays.
        VersionFailed: The earlier version does not load; what is served stays.
    """
    begin_s = time.monotonic()
    left = plan.server.default()
    if left is None:
        raise NotNow(f"{plan.model_name}: expected a version that is served, got none.")
    record = plan.records.read()
    target, trial = record.before(left.version), record.trial
    if trial is not None and trial.kind == "canary" and trial.version != left.version:
        # It is the candidate that is not wanted: what is served stays.
        serving = record.find(left.version)
        if serving is not None:
            target, left = serving, dataclasses.replace(left, version=trial.version)
    if target is None:
        raise NotNow(
            f"rollback: expected a good version before {left.version} on record, got none. "
            f"Name one: python -m scripts.set_alias {plan.model_name} VERSION, then: "
            f"python -m scripts.deploy sync --model-name {plan.model_name}"
        )
    hold = Hold(
        version=target.version,
        alias_version=plan.records.read().alias_version,
        reason=f"rollback from version {left.version}",
        since_s=time.time(),
    )
    with _record_where_possible(plan) as record:
        earlier, record.hold = record.hold, hold
    if left.version == (trial.version if trial is not None else None):
        SplitFront(plan.state.front).take_back()  # after the hold, which ends the next step
    try:
        # Not before the hold, which keeps whoever tidies from unloading it.
        standby = plan.server.find(target.version)
        if standby is None or standby.ready == 0:
            reading = loading.expect_unaltered(plan, target)
            loading.load(plan, target, left, reading)
        with _record_where_possible(plan) as record:
            record.go_back_to(target.version)
            record.retired_at_s[left.version] = deployment_records.now_s()
            record.retired_at_s.pop(target.version, None)
            plan.server.set_default(target.version)
    except Exception:
        with plan.records.changing() as record:
            if record.hold == hold:
                record.hold = earlier
        raise
    try:
        first = _first_score(plan, target)
    except Exception as error:  # it serves already, and the alias has to follow
        first = "a golden picture was not scored as on record"
        logger.warning("version %s: %s: %s", target.version, first, error)
    print(
        f"{plan.model_name} version {target.version} is served again, "
        f"{time.monotonic() - begin_s:.2f} s after the command began: {first}",
        flush=True,
    )
    return left.version, _tell_registry(plan, hold)


def _first_score(plan: Deployment, target: Good) -> str:
    told = plan.server.provenance(target.version)
    pictures = golden.golden_of(plan.store / target.mar, target.version, told)
    code, reply = plan.server.score(pictures.pictures[0][1])
    pictures.compare(0, code, reply)
    return golden.shortly(reply)


def _tell_registry(plan: Deployment, hold: Hold) -> str:
    """Move the alias back, and note it for the next start."""
    from scripts.rollout.wanted_version import settle_hold  # MLflow takes seconds to import
    from training.registry.address import connect

    connect(is_patient=False)
    good = plan.records.read().find(hold.version)
    if good is not None:
        with contextlib.suppress(OSError):  # a full disk: MLflow is what counts
            last_known_alias.write(plan.model_name, plan.alias, plan.store / good.mar)
    names = settle_hold(plan, hold)
    if names == hold.version:
        return f"{plan.alias} names the version that is served"
    if names is not None:
        return f"{plan.alias} moved to version {names} meanwhile: the next sync brings that one"
    return (
        f"held until MLflow answers: {plan.alias} still names another version there. The next sync "
        "that reaches it moves the alias; until then every sync respects the hold"
    )


@contextlib.contextmanager
def _record_where_possible(plan: Deployment) -> Iterator[Record]:
    """Change the record; on a full disk go on without it, for the server comes first."""
    record = None
    try:
        with plan.records.changing() as record:
            yield record
    except OSError as error:
        if record is None:
            raise
        logger.warning(
            "the rollback is not on record, so only the alias can keep it: %s. Free the disk.",
            error,
        )
