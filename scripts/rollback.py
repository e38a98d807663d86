"""
Back to the good version before, at once: `python -m scripts.deploy rollback`.

The server comes first and MLflow after it. A hold keeps every sync from undoing the rollback until
MLflow knows of it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from scripts import archive_note, candidate, deployment_state, golden
from scripts.deployment_state import Good, Hold, Record
from scripts.deployment_terms import Deployment
from scripts.management_api import NotNow

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
        raise NotNow("iqa: expected a version that is served, got none.")
    target = deployment_state.read().before(left.version)
    if target is None:
        raise NotNow(
            f"rollback: expected a good version before {left.version} on record, got none. "
            "Name one: python -m scripts.set_alias iqa VERSION, then: python -m scripts.deploy sync"
        )
    hold = Hold(
        version=target.version,
        alias_version=deployment_state.read().alias_version,
        reason=f"rollback from version {left.version}",
        since_s=time.time(),
    )
    with _record_where_possible() as record:
        record.hold = hold
    try:
        # Not before the hold, which keeps whoever tidies from unloading it.
        standby = plan.server.find(target.version)
        if standby is None or standby.ready == 0:
            reading = candidate.expect_unaltered(plan, target)
            candidate.load(plan, target, left, reading)
        with _record_where_possible() as record:
            record.go_back_to(target.version)
            record.retired_at_s[left.version] = deployment_state.now_s()
            record.retired_at_s.pop(target.version, None)
            plan.server.set_default(target.version)
    except Exception:
        with deployment_state.changing() as record:
            record.hold = None
        raise
    score, label = _first_score(plan, target)
    print(
        f"iqa version {target.version} is served again, {time.monotonic() - begin_s:.2f} s after "
        f"the command began: {score:.2f} ({label})",
        flush=True,
    )
    return left.version, _tell_registry(plan, hold)


def _first_score(plan: Deployment, target: Good) -> tuple[float, str]:
    told = plan.server.provenance(target.version)
    pictures = golden.golden_of(plan.store / target.mar, target.version, told)
    code, reply = plan.server.score(pictures.pictures[0][1])
    pictures.compare(0, code, reply)
    return float(reply["score"]), str(reply["label"])


def _tell_registry(plan: Deployment, hold: Hold) -> str:
    """Move the alias back, and note it for the next start."""
    from scripts.wanted import settle_hold  # MLflow takes seconds to import
    from training.tracking_uri import connect

    connect(is_patient=False)
    good = deployment_state.read().find(hold.version)
    if good is not None:
        with contextlib.suppress(OSError):  # a full disk: MLflow is what counts
            archive_note.write(plan.alias, plan.store / good.mar)
    if settle_hold(plan, hold):
        return f"{plan.alias} names the version that is served"
    return (
        f"held until MLflow answers: {plan.alias} still names another version there. The next sync "
        "that reaches it moves the alias; until then every sync respects the hold"
    )


@contextlib.contextmanager
def _record_where_possible() -> Iterator[Record]:
    """Change the record; on a full disk go on without it, for the server comes first."""
    record = None
    try:
        with deployment_state.changing() as record:
            yield record
    except OSError as error:
        if record is None:
            raise
        logger.warning(
            "the rollback is not on record, so only the alias can keep it: %s. Free the disk.",
            error,
        )
