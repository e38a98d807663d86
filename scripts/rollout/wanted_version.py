"""
Which version is to be served: what the alias names, unless a hold or a quarantine says otherwise.

And its archive: found in the model store or built, with the digest that is on record.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from console.command_line import INTERRUPTED
from console.paths import ROOT
from scripts.archive import mar_file
from scripts.archive.ensure_archive import archive_of
from scripts.rollout import loading
from scripts.rollout.deployment_records import Good, Hold, Quarantine
from scripts.rollout.settings import Deployment, Superseded, VersionFailed
from scripts.server.http_client import NotNow
from training.registry import model_versions
from training.registry.availability import RegistryUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    The version to serve.

    Attributes:
        version: The registry's integer, as text.
        registered: From the registry; None where the record decides.
        good: From the record; None where the registry decides.
        instead_of: The quarantined version that the alias names, if it names one.
    """

    version: str
    registered: ModelVersion | None = None
    good: Good | None = None
    instead_of: Quarantine | None = None


def wanted(plan: Deployment) -> Wanted:
    """
    Tell which version is to be served.

    Raises:
        VersionFailed: The alias names a quarantined version, and no good one is on record.
        NotNow: The alias names nothing.
        RegistryUnavailable: MLflow does not answer, and no hold is on record.
    """
    record = plan.records.read()
    hold = record.hold
    held = record.find(hold.version) if hold else None
    if hold is not None and held is not None and settle_hold(plan, hold) is None:
        return Wanted(version=hold.version, good=held)
    registered = model_versions.holder_of(plan.model_name, plan.alias)
    if registered is None:
        raise NotNow(
            f"alias '{plan.alias}' of model '{plan.model_name}': expected a version, found none. "
            f"What is served stays. Run: python -m scripts.set_alias {plan.model_name} VERSION "
            f"--alias {plan.alias}"
        )
    version = str(registered.version)
    with plan.records.changing() as record:
        record.alias_version = version
        if record.quarantine is not None and record.quarantine.version != version:
            record.quarantine = None
    if record.quarantine is None:
        return Wanted(version=version, registered=registered)
    good = record.before(version)
    if good is None:
        raise quarantined(plan.model_name, record.quarantine)
    return Wanted(version=good.version, good=good, instead_of=record.quarantine)


def quarantined(model_name: str, quarantine: Quarantine) -> VersionFailed:
    """Return the error that says why a version of a model is not tried."""
    return VersionFailed(
        f"version {quarantine.version} is in quarantine until the alias moves: "
        f"{quarantine.reason} Try it again: "
        f"python -m scripts.deploy sync --model-name {model_name} --retry"
    )


def settle_hold(plan: Deployment, hold: Hold) -> str | None:
    """
    Move the alias in MLflow after a rollback that MLflow missed, and end the hold.

    A hold also ends if the alias names a third version by then, because somebody decided anew.

    Returns:
        The version that the alias names, which decides again; None while MLflow is away or refuses
        the move.
    """
    try:
        holder = model_versions.holder_of(plan.model_name, plan.alias)
        names = None if holder is None else str(holder.version)
        if names != hold.version and (names is None or hold.alias_version in (None, names)):
            model_versions.move_alias(plan.model_name, plan.alias, hold.version, hold.reason)
            logger.info("%s: version %s -> version %s", plan.alias, names, hold.version)
            names = hold.version
        elif names != hold.version:
            logger.info("hold at version %s ended: %s moved to %s", hold.version, plan.alias, names)
    except (RegistryUnavailable, MlflowException) as error:
        logger.warning(
            "held at version %s: MLflow does not take the move of %s: %s",
            hold.version, plan.alias, str(error).split("\n")[0],
        )  # fmt: skip
        return None
    with plan.records.changing() as record:
        if record.hold == hold:
            record.hold = None
    return names


def expect_still_wanted(plan: Deployment, target: Wanted) -> None:
    """
    Check that nobody decided otherwise since the sync began.

    Raises:
        Superseded: A rollback came, or the alias moved.
        NotNow: The alias names nothing any more.
    """
    hold = plan.records.read().hold
    if hold is not None and hold.version != target.version:
        raise Superseded(f"version {target.version}: a rollback came to version {hold.version}")
    if target.registered is None:
        return
    try:
        holder = model_versions.holder_of(plan.model_name, plan.alias)
    except RegistryUnavailable:
        return  # decided while it answered
    if holder is None:
        raise NotNow(
            f"version {target.version}: expected it in the registry, got the version or the alias "
            f"'{plan.alias}' deleted meanwhile. What is served stays."
        )
    if str(holder.version) != target.version:
        raise Superseded(f"{plan.alias} moved: version {target.version} -> {holder.version}")


def find_archive(plan: Deployment, target: Wanted, *, retry: bool) -> tuple[Good, mar_file.Reading]:
    """
    Find or build the archive of a version and check its digest; what is there is read once.

    Args:
        plan: See `Deployment`.
        target: The version wanted.
        retry: Put an archive with another digest aside and build anew.

    Returns:
        The version, and the reading that its digest is of.

    Raises:
        VersionFailed: It cannot be built, or is not the one on record.
        RegistryUnavailable: MLflow went away meanwhile.
        NotNow: It was deleted or moved meanwhile, the disk is full, or a build was ended or came
            upon such circumstances itself.
    """
    if target.good is not None:
        return target.good, loading.expect_unaltered(plan, target.good)
    assert target.registered is not None
    mar = mar_file.mar_path(plan.store, plan.model_name, target.version)
    try:
        reading = mar_file.Reading(mar) if mar.exists() else None
        is_on_record = reading is not None and _is_on_record(reading, target.registered)
        if retry and not is_on_record and _put_aside(mar, target.registered):
            reading = None
        # What is loaded was up to date when it was loaded, and cannot be replaced under the server.
        is_loaded = plan.server.find(target.version) is not None
        if reading is None or not (is_loaded and is_on_record):
            reading = archive_of(target.registered, plan.store, _build, reading)
        if not _is_on_record(reading, model_versions.get(plan.model_name, target.version)):
            raise ValueError(f"{mar.name}: expected a sha256 that is on record, got another.")
    except (ValueError, OSError) as error:
        model_versions.holder_of(plan.model_name, plan.alias)  # raises where MLflow is the reason
        expect_still_wanted(plan, target)
        if isinstance(error, OSError) or any(
            words in str(error) for words in model_versions.DISK_IS_FULL
        ):
            raise NotNow(f"version {target.version}: {error}. Free the disk.") from error
        raise VersionFailed(f"version {target.version}: {error}") from error
    logger.info("version %s: %s has the sha256 on record", target.version, mar.name)
    return Good(version=target.version, mar=mar.name, sha256=reading.sha256), reading


def _is_on_record(reading: mar_file.Reading, registered: ModelVersion) -> bool:
    return registered.tags.get(mar_file.digest_tag(reading.sha256)) == reading.sha256


def _put_aside(mar: Path, registered: ModelVersion) -> bool:
    """
    Rename an archive that is not the one on record: it is built anew, and can be looked at.

    Returns:
        Whether there was one, of a version that has one on record.
    """
    if not mar.exists() or "mar_sha256" not in registered.tags:
        return False
    aside = mar.with_suffix(".refused")
    mar.rename(aside)
    logger.warning("%s: put aside as %s, its sha256 is not on record", mar.name, aside.name)
    return True


def _build(version: ModelVersion, store: Path) -> None:
    """Build in a process of its own, so that a watch does not keep torch in memory."""
    done = subprocess.run(
        [
            sys.executable, "-m", "scripts.archive.build_process",
            str(version.name), str(version.version), str(store),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
    said = f"{lines[-1].removeprefix('error: ').rstrip('.')}."
    if done.returncode < 0:
        raise NotNow(
            f"version {version.version}: expected its build to end by itself, got signal "
            f"{-done.returncode}. If memory was short, free some."
        )
    if done.returncode in (os.EX_TEMPFAIL, INTERRUPTED):
        raise NotNow(f"version {version.version}: not built now: {said}")
    if done.returncode != 0:
        raise ValueError(f"not built: {said}")
    logger.info("%s", lines[-1])
