"""
One run: from inputs to a finished output, taken up where an earlier one was stopped.

Beside `scores.csv` lies `.scores.csv.run/` while a run is not finished: what it is of (`run.json`),
the listing, the journal, the unpacked model. The output itself is made of the journal, now and then
and at the end, by one rename.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from scripts.batch import listing, output
from scripts.batch.journal import Journal
from scripts.batch.model import Model
from scripts.batch.progress import Progress
from scripts.batch.rows import (
    DIGEST,
    FILENAME,
    PASSING,
    REASON,
    VERSION,
    Columns,
    Row,
    columns_of,
    refused,
)
from scripts.batch.run_folder import Place

logger = logging.getLogger(__name__)

FORMAT: Final = 1
RENEW_FROM_S: Final = 5.0
RENEW_SHARE: Final = 0.01
"""Of the time, for writing the output before the run is finished."""


class Scorers(Protocol):
    """What scores: the processes of this machine, or a cluster."""

    def facts(self) -> dict[str, Any]:
        """Return what a worker says of the model: `sample` is a reply."""

    def score(self, entries: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
        """Return rows as they are done."""


@dataclass(kw_only=True)
class Summary:
    """
    What came of a run.

    Attributes:
        rows: In the output.
        scored: Done now, refused ones included.
        reasons: {reason: how many of them have no score}.
        rate_per_s: Images a second.
    """

    rows: int
    scored: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rate_per_s: float = 0.0


def run(
    place: Place,
    inputs: list[str],
    takes_all: bool,
    model: Model,
    resume: bool,
    scorers: Callable[[], AbstractContextManager[Scorers]],
) -> Summary:
    """
    Score all inputs that have no row yet.

    Args:
        place: Reserved.
        inputs: See `listing.Listing`.
        takes_all: See there.
        model: Unpacked.
        resume: Go on where the output or an unfinished run belongs to the same model.
        scorers: Starts what scores; the listing is made meanwhile.

    Raises:
        ValueError: The output, or the unfinished run, is of another model or other inputs.
        FileNotFoundError: An input is not there.
    """
    facts = {
        "format": FORMAT,
        "model": {"version": model.version, "sha256": model.sha256, "name": model.name},
        "inputs": _as_given(inputs),
        "takes_all": takes_all,
    }
    known = _unfinished(place, facts)
    if known is not None and listing.STANDARD_INPUT in inputs:
        logger.info(
            "standard input is not read: the unfinished run has its names. Other names: "
            "another --out, or --no-resume"
        )
    if known is None and resume and place.output.exists():
        _expect_same_model(place.output, model)
    with scorers() as started:
        if known is None:
            known = {**facts, "total": _prepare(place, inputs, takes_all, resume)}
            known["columns"] = columns_of(started.facts()["sample"])
            _write_facts(place, known)
        return _score(place, known, model, started)


def _score(place: Place, known: dict[str, Any], model: Model, scorers: Scorers) -> Summary:
    journal = Journal(place.journal)
    progress = Progress(known["total"], journal.count)
    before = journal.count
    writer = _Writer(place, known["columns"], model, journal)
    try:
        entries = _without_row(place.listing, journal, progress)
        for index, row in scorers.score(entries):
            journal.add(index, row)
            progress.add(row)
            writer.renew()
    finally:
        # Also where it is stopped: what was done is in the output.
        progress.close()
        rows = writer.write()
        journal.close()
    place.discard()
    return Summary(
        rows=rows,
        scored=known["total"] - before,
        reasons=dict(progress.reasons),
        rate_per_s=progress.rate_per_s,
    )


class _Writer:
    """Makes the output of the journal, as often as that costs next to nothing."""

    def __init__(self, place: Place, columns: Columns, model: Model, journal: Journal) -> None:
        self._place = place
        self._columns = columns
        self._same = {VERSION: model.version, DIGEST: model.sha256}
        self._journal = journal
        self._took_s = 0.0
        self._written_s = time.monotonic()
        if not place.output.exists():
            self.write()

    def renew(self) -> None:
        """Write, if it is time."""
        pause_s = max(RENEW_FROM_S, self._took_s / RENEW_SHARE)
        if time.monotonic() - self._written_s > pause_s:
            self.write()

    def write(self) -> int:
        """Write the rows of an earlier run, and of this one up to the first that is missing."""
        started_s = time.monotonic()
        self._journal.sync()
        place = self._place
        unfinished = place.folder / f"output{place.output.suffix}"
        now = ({**row, **self._same} for row in self._journal.in_order())
        earlier = filter(_is_final, output.read(place.earlier)) if place.earlier.exists() else ()
        count = output.replace(place.output, unfinished, self._columns, chain(earlier, now))
        self._written_s = time.monotonic()
        self._took_s = self._written_s - started_s
        return count


def _prepare(place: Place, inputs: list[str], takes_all: bool, resume: bool) -> int:
    """Write the listing of what has no row yet; return how many there are."""
    have: set[str] = set()
    place.earlier.unlink(missing_ok=True)
    if resume and place.output.exists():
        rows = filter(_is_final, output.read(place.output))
        have = {output.encodable(row[FILENAME]) for row in rows}
        # A copy, and not the file itself: the output is replaced on the way.
        shutil.copyfile(place.output, place.earlier)
    items = listing.Listing(inputs, takes_all)
    n_known = 0

    def wanted() -> Iterator[listing.Item]:
        nonlocal n_known
        for item in items:
            if output.encodable(item.name) in have:
                n_known += 1
            else:
                yield item

    def say(count: int) -> None:
        if count % 100_000 == 0:
            logger.info("listing: %d images", count)

    total = listing.write(wanted(), place.listing, say)
    if have:
        logger.info(
            "%s has %d rows of this model: they stay. %d of the images have one, by their name; "
            "other images of the same names want another --out", place.output, len(have), n_known,
        )  # fmt: skip
    if items.passed_over:
        logger.info(
            "%d files are not called like an image and are left out; --all-files takes them",
            items.passed_over,
        )
    return total


def _without_row(path: Path, journal: Journal, progress: Progress) -> Iterator[tuple[int, str]]:
    """Return what is still to be scored; a folder that cannot be listed gets its row here."""
    for index, item in enumerate(listing.read(path)):
        if index in journal:
            continue
        if not item.problem:
            yield index, item.name
            continue
        problem = f"folder: expected to list it, got {item.problem}. Nothing in it is scored."
        row = refused(item.name, "unreadable", problem)
        logger.warning("%s: %s", item.name, problem)
        journal.add(index, row)
        progress.add(row)


def _unfinished(place: Place, facts: dict[str, Any]) -> dict[str, Any] | None:
    """
    Return what an unfinished run says of itself; None where there is none.

    Raises:
        ValueError: It cannot be taken up with these arguments.
    """
    try:
        known: dict[str, Any] = json.loads(place.facts.read_text())
    except FileNotFoundError:
        return None
    what_to_do = "Give those again, or another --out, or --no-resume to begin anew."
    if known["format"] != FORMAT:
        raise ValueError(
            f"{place.folder}: expected a run of this version of the command, got one of format "
            f"{known['format']}. Finish it with that version, or begin anew: --no-resume."
        )
    if known["model"] != facts["model"]:
        raise ValueError(
            f"{place.output}: expected the model of its unfinished run, {_model(known)}, got "
            f"{_model(facts)}. {what_to_do}"
        )
    if (known["inputs"], known["takes_all"]) != (facts["inputs"], facts["takes_all"]):
        raise ValueError(
            f"{place.output}: expected the inputs of its unfinished run, "
            f"{' '.join(known['inputs'])}, got {' '.join(facts['inputs'])}. {what_to_do}"
        )
    return known


def _expect_same_model(path: Path, model: Model) -> None:
    first = next(output.read(path), None)
    if first is None:
        return
    if not {FILENAME, VERSION, DIGEST} <= set(first):
        raise ValueError(
            f"{path}: expected rows of this command, got a file with other columns. "
            "Give another --out, or --no-resume to replace it."
        )
    if (str(first[VERSION]), first[DIGEST]) != (model.version, model.sha256):
        raise ValueError(
            f"{path}: expected rows of {model}, got rows of version {first[VERSION]} "
            f"({str(first[DIGEST])[:12]}). Scores of two models do not belong in one file: give "
            "that model, or another --out, or --no-resume to replace it."
        )


def _is_final(row: Row) -> bool:
    """Tell whether a row of a finished run stays; what another run may mend is tried again."""
    return row.get(REASON) not in PASSING


def _as_given(inputs: list[str]) -> list[str]:
    """Return the inputs with their folder, so that the same words elsewhere are other inputs."""
    here = os.getcwd()
    return [
        given if given == listing.STANDARD_INPUT or "://" in given else os.path.join(here, given)
        for given in inputs
    ]


def _model(facts: dict[str, Any]) -> str:
    told = facts["model"]
    return f"{told['name']} version {told['version']} ({told['sha256'][:12]})"


def _write_facts(place: Place, facts: dict[str, Any]) -> None:
    unfinished = place.facts.with_suffix(".part")
    unfinished.write_text(json.dumps(facts, indent=2) + "\n")
    unfinished.replace(place.facts)
