"""The reference that traffic is compared with: of a card, of an archive, or of earlier traffic."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from iqa.drift.comparison import Columns
from iqa.drift.measures import PICTURES
from iqa.drift.reference import Reference
from iqa.prediction_log.manifest import NAME as MANIFEST
from iqa.tasks.task import CARD_FILE

from scripts.drift_report.traffic import Traffic, traffic_of
from training.drift.fit import fit

ReferenceOf = Callable[[str], Reference]
"""Returns the reference for a version, NAME VERSION."""
ARCHIVE: Final = ".mar"


def references_at(place: Path, since: str | None = None, until: str | None = None) -> ReferenceOf:
    """
    Find out what lies at a place, and return the reference for each version.

    Args:
        place: A checkpoint's folder, a card, an archive: the same for every version. A folder of
            archives: each version's own. A prediction log: of each version's own rows; a version
            without rows is compared by what no network takes part in.
        since: First time, of a log.
        until: Time from which on rows of a log are left out.

    Raises:
        ValueError: There is no reference.
    """
    if (place / MANIFEST).exists():
        return _of_log(traffic_of(place, since, until))
    if since is not None or until is not None:
        raise ValueError(f"--reference: expected a prediction log for a time, got {place}.")
    if place.is_dir() and not (place / CARD_FILE).exists() and list(place.glob(f"*{ARCHIVE}")):
        return lambda version: _of_card(place / f"{version.replace(' ', '-')}{ARCHIVE}")
    reference = _of_card(place / CARD_FILE if place.is_dir() else place)
    return lambda _version: reference


def _of_card(path: Path) -> Reference:
    try:
        if path.suffix == ARCHIVE:
            with zipfile.ZipFile(path) as archive:
                card: dict[str, Any] = json.loads(archive.read(CARD_FILE))
        else:
            card = json.loads(path.read_text())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"--reference: expected a checkpoint, an archive, a folder of archives or a prediction "
            f"log, got {path}: {error}"
        ) from error
    reference = Reference.of_card(card)
    if reference is None:
        raise ValueError(
            f"--reference: expected a card with a reference for drift, got {path} without. Make "
            "it: python -m training.drift_reference; or name a prediction log."
        )
    return reference


def _of_log(traffic: dict[str, Traffic]) -> ReferenceOf:
    shared = set(PICTURES).intersection(*(one.columns for one in traffic.values()))
    everything: Columns = {
        name: np.concatenate([one.columns[name] for one in traffic.values()])
        for name in PICTURES
        if name in shared
    }

    def of(version: str) -> Reference:
        return fit(traffic[version].columns if version in traffic else everything)

    return of
