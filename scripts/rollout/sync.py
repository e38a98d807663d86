"""
One sync: make the server serve what the alias names, or leave it as it was.

Read `_sync` and `_swap` downward. Until the default is set, a failure unloads the new version, and
the old one has served all along; after it, a failure makes the old one, still warm, the default
again. Each step looks at what is there and not at what it did before, so the next sync finishes
one that was killed at any point. What is left to do once the new version serves: `cleanup.py`.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from scripts.archive import golden, last_known_alias, mar_file
from scripts.archive.golden import Golden
from scripts.rollout import candidate_trial, deployment_records, loading, unload, watch_after_switch
from scripts.rollout.deployment_records import Good
from scripts.rollout.rolling_order import Turn
from scripts.rollout.settings import Deployment, Superseded, VersionFailed
from scripts.rollout.wanted_version import (
    Wanted,
    expect_still_wanted,
    find_archive,
    quarantined,
    wanted,
)
from scripts.server.client import Loaded
from scripts.server.http_client import NotNow

logger = logging.getLogger(__name__)

MOVES: Final = 3
"""How often the alias may move during one sync."""


def sync(plan: Deployment, *, retry: bool = False) -> str:
    """
    Make the server serve what the alias names.

    Args:
        plan: See `Deployment`.
        retry: Try a quarantined version once more, and end a hold.

    Returns:
        One sentence: what is served now.

    Raises:
        VersionFailed: The version is refused and quarantined; another one serves.
        HeldBack: Another server of the fleet refused the version; what is served stays.
        RegistryUnavailable: MLflow does not answer; what is served stays.
        NotNow: The circumstances do not allow it; what is served stays.
    """
    with plan.records.one_sync_at_a_time():
        if retry:
            with plan.records.changing() as record:
                record.quarantine = record.hold = record.no_standby = None
            if plan.fleet is not None:
                plan.fleet.forgive()
        if plan.records.read().trial is not None:  # of a process that died
            candidate_trial.forget(plan)
        try:
            said = _until_the_alias_rests(plan, retry)
        except Exception as error:
            _note(plan, error)
            raise
        finally:
            with contextlib.suppress(NotNow, OSError):  # the next sync marks them
                unload.mark(plan)
        with plan.records.changing() as record:
            record.last_error = None
        return said


def _until_the_alias_rests(plan: Deployment, retry: bool) -> str:
    for _ in range(MOVES):
        try:
            return _sync(plan, retry)
        except Superseded as moved:
            logger.info("%s", moved)
    raise NotNow(f"alias '{plan.alias}': expected it to rest, got {MOVES} moves during one sync.")


def _sync(plan: Deployment, retry: bool) -> str:
    target = wanted(plan)
    served = plan.server.default()
    current = plan.records.read().current()
    if served and current and served.version == current.version == target.version:
        said = f"{plan.model_name} version {served.version} is served, as wanted"
        _note_for_starts(plan, current)
    else:
        try:
            said = _swap_in_turn(plan, target, served, retry)
        except VersionFailed as error:
            with plan.records.changing() as record:
                record.refuse(target.version, str(error))
            raise
    if target.instead_of is not None:
        logger.info("%s", said)
        raise quarantined(plan.model_name, target.instead_of)
    return said


def _swap_in_turn(plan: Deployment, target: Wanted, served: Loaded | None, retry: bool) -> str:
    """Swap while no more servers of the fleet than may be are between two versions."""
    fleet = plan.fleet
    if fleet is None or served is None or served.version == target.version:
        return _swap(plan, target, served, retry, Turn())  # nobody is served worse meanwhile
    with fleet.turn(target.version, lambda: expect_still_wanted(plan, target)) as turn:
        try:
            said = _swap(plan, target, served, retry, turn)
        except VersionFailed as error:
            fleet.refuse(target.version, str(error))  # before the turn ends
            raise
        fleet.forgive(target.version)
        return said


def _swap(plan: Deployment, target: Wanted, served: Loaded | None, retry: bool, turn: Turn) -> str:
    """
    Find, load and prove a version, let it serve, watch it.

    Args:
        plan: See `Deployment`.
        target: The version wanted.
        served: The default version now. It is the wanted one after a start of the server, or
            where a sync was killed before it put that on record.
        retry: Put an altered archive aside and build it anew.
        turn: Ended once a version serves that was good here before: a way back is not to wait.
    """
    if served is not None and served.version != target.version:
        _put_on_record(plan, served)
    by_steps = _goes_by_steps(plan, target, served)
    good, reading = find_archive(plan, target, retry=retry)
    before = _one_to_go_back_to(plan, good, served)
    was_good = plan.records.read().find(good.version) == good
    answers = plan.server.answers()
    if served is not None and served.version == good.version:
        loaded = served
        pictures = _prove_the_default(plan, good, loaded, before)
    else:
        has_clients = False
        was_loaded = plan.server.find(good.version) is not None
        try:
            is_warm = _has_served(plan, good)
            loaded = loading.load(plan, good, before, reading)
            pictures = loading.prove(plan, good, loaded, is_warm=is_warm)
            expect_still_wanted(plan, target)
            usual = watch_after_switch.between(answers, plan.server.answers())
            if by_steps and served is not None:
                from scripts.rollout import canary  # scipy: not for those who go all at once

                has_clients = True
                with canary.rolled_out(plan, target, good, loaded, served, pictures):
                    _set_default(plan, good, before)
            else:
                _set_default(plan, good, before)
        except BaseException:
            # One that may have requests in hand is retired, and unloaded once it has answered them.
            if not has_clients and not was_loaded:
                loading.take_away(plan, good.version, is_only=served is None)
            raise
    if was_good:
        turn.end()
    if before is not None:
        usual = watch_after_switch.between(answers, plan.server.answers())
        try:
            watch_after_switch.watch(plan, pictures, loaded, usual)
        except VersionFailed as error:
            raise _go_back(plan, good.version, before, error) from error
    with plan.records.changing() as record:
        watch_after_switch.expect_default(plan, good.version)  # a rollback comes before, or after
        record.add_good(good)
        record.retired_at_s.pop(good.version, None)
        record.no_standby = None
    _note_for_starts(plan, good)
    return f"{plan.model_name} version {good.version} is served" + (
        f"; version {before.version} was before" if before else ""
    )


def _goes_by_steps(plan: Deployment, target: Wanted, served: Loaded | None) -> bool:
    """
    Tell whether the version gets the requests by and by.

    One that was good before does not, in place of one that was refused; nor the first one.

    Raises:
        NoFront: It should, and there is no front to split them.
    """
    is_new = served is not None and served.version != target.version and target.good is None
    if plan.canary is None or not is_new:
        return False
    candidate_trial.expect_front(plan)
    return True


def _one_to_go_back_to(plan: Deployment, good: Good, served: Loaded | None) -> Loaded | None:
    """Return the version that serves now or, where that is the new one already, did before."""
    if served is not None and served.version != good.version:
        return served
    current = plan.records.read().before(good.version)
    found = plan.server.find(current.version) if current else None
    return found if found is not None and found.is_ready else None


def _put_on_record(plan: Deployment, served: Loaded) -> None:
    """
    Put the version that serves on record as good, if it is and no sync has: a start chose it.

    Without it the first sync of a server would leave nothing for a rollback to lead to, and a start
    nothing to serve in place of a version that was refused.
    """
    current = plan.records.read().current()
    if current is not None and current.version == served.version:
        return
    mar = plan.store / served.mar
    try:
        reading = mar_file.Reading(mar)
        told = plan.server.provenance(served.version)
        if not golden.is_same(mar, told):
            raise ValueError(f"{mar.name}: expected the archive that is loaded, got another.")
        pictures = golden.golden_of(mar, served.version, told)
        golden.score_all(plan.server, pictures, workers=0)
    except (NotNow, OSError, ValueError) as error:
        logger.warning("no rollback will lead to version %s: %s", served.version, error)
        return
    with plan.records.changing() as record:
        record.add_good(Good(version=served.version, mar=mar.name, sha256=reading.sha256))


def _has_served(plan: Deployment, good: Good) -> bool:
    """Tell whether a version is loaded since it served, so that all its workers are warm."""
    standby = plan.server.find(good.version) is not None
    return standby and plan.records.read().find(good.version) == good


def _prove_the_default(
    plan: Deployment, good: Good, loaded: Loaded, before: Loaded | None
) -> Golden:
    try:
        return loading.prove(plan, good, loaded, is_warm=True)
    except VersionFailed as error:
        if before is None:
            raise
        raise _go_back(plan, good.version, before, error) from error


def _set_default(plan: Deployment, good: Good, before: Loaded | None) -> None:
    """Let the new version serve, from the next request on, unless a rollback came meanwhile."""
    with plan.records.changing() as record:
        if record.hold is not None and record.hold.version != good.version:
            raise Superseded(f"version {good.version}: a rollback came meanwhile")
        record.retired_at_s.pop(good.version, None)
        if before is not None and not plan.keeps_previous:
            record.retired_at_s[before.version] = deployment_records.now_s()
        plan.records.write(record)  # a full disk shows here, while the old version serves
        plan.server.set_default(good.version)
    was = f"version {before.version}" if before else "none"
    logger.info("default: %s -> version %s", was, good.version)


def _go_back(plan: Deployment, version: str, before: Loaded, error: VersionFailed) -> VersionFailed:
    """Let the version before serve again; returns what to raise."""
    with plan.records.changing() as record:
        hold = record.hold
        if hold is None or hold.version == before.version:  # else a rollback chose another one
            plan.server.set_default(before.version)
        record.retired_at_s[version] = deployment_records.now_s()
        record.retired_at_s.pop(before.version, None)
        record.refuse(version, str(error))
    logger.warning("default: version %s -> version %s: %s", version, before.version, error)
    return VersionFailed(f"{error} Version {before.version} serves again.")


def _note_for_starts(plan: Deployment, good: Good) -> None:
    """Note what the alias means, if that is not noted; a sync that was killed may have not."""
    mar = plan.store / good.mar
    try:
        if last_known_alias.read(plan.model_name, plan.alias, plan.store) != mar:
            last_known_alias.write(plan.model_name, plan.alias, mar)
    except OSError as error:  # the version serves all the same
        logger.warning("a start without MLflow will not know of %s: %s", mar.name, error)


def _note(plan: Deployment, error: Exception) -> None:
    """Put the reason of a failure on record for `status`."""
    reason = str(error) or type(error).__name__
    try:
        with plan.records.changing() as record:
            record.last_error = reason
    except OSError as full:
        logger.warning("the reason is not on record: %s", full)
