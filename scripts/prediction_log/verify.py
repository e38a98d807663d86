"""Find what was done to a log: rows and segments that were edited, dropped, doubled, or added."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from iqa.prediction_log.chain import NO_HASH, Row, canonical, number_of, row_hash, sha256, tombstone
from iqa.prediction_log.manifest import NAME, SegmentRecord, entries, records_of
from iqa.prediction_log.segment import SUFFIX, is_written

from scripts.prediction_log.reading import lines_of, segments


@dataclass(kw_only=True)
class Findings:
    """
    What a look at a whole log found.

    Attributes:
        problems: Each a sentence: somebody changed something.
        notes: Each a sentence: what a kill, a full disk, or an ordered erasure left.
        rows: That hold.
        erased: Of them, tombstones.
        heads: {segment: [rows, hash of the last one]}; kept elsewhere, they show later that not
            even the whole log was written anew.
        manifest: [entries, hash of the last one].
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    erased: int = 0
    heads: dict[str, list[int | str]] = field(default_factory=dict)
    manifest: list[int | str] = field(default_factory=lambda: [0, NO_HASH])


def verify(folder: Path, earlier: Findings | None = None) -> Findings:
    """
    Look at every row of a log.

    Args:
        folder: Of the log; it may be written meanwhile, and not erased or compacted.
        earlier: An earlier look, of which `heads` and `manifest` count: what was there then must
            still be there.

    Raises:
        ValueError: The folder holds no log.
    """
    found = Findings()
    heads = {} if earlier is None else earlier.heads
    files = segments(folder)  # first: what is opened meanwhile is in the manifest, not here
    _look_at_manifest(folder, found, earlier)
    told = records_of(entries(folder / NAME))
    for name in sorted(files.keys() | told.keys()):
        record, path = told.get(name), files.get(name)
        if record is None:
            if path is not None and path.stat().st_size:
                found.problems.append(f"segment {name}: it is not in the manifest")
        elif record.is_removed:
            found.notes.append(f"segment {name}: removed by the command{_of(record)}")
        elif path is None:
            # Opened since `files` was read, or taken away.
            if not (folder / f"{name}{SUFFIX}").exists():
                found.problems.append(f"segment {name}: dropped as a whole{_of(record)}")
        else:
            _look_at_segment(path, record, found, _expected(name, heads))
    for name in sorted(heads.keys() - told.keys()):
        found.problems.append(f"segment {name}: it was there earlier, and is not in the manifest")
    return found


def problems_of(path: Path, record: SegmentRecord) -> list[str]:
    """Return what is wrong with one segment."""
    found = Findings()
    _look_at_segment(path, record, found, None)
    return found.problems


def _of(record: SegmentRecord) -> str:
    return "" if record.rows is None else f" ({record.rows} rows)"


def _expected(name: str, heads: dict[str, list[int | str]]) -> tuple[int, str] | None:
    rows, last = heads.get(name, (0, ""))
    return (int(rows), str(last)) if rows else None


def _look_at_manifest(folder: Path, found: Findings, earlier: Findings | None) -> None:
    try:
        lines = (folder / NAME).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        found.problems.append("manifest: it is missing")
        return
    last = NO_HASH
    known, known_hash = (0, "") if earlier is None else earlier.manifest
    if len(lines) < int(known):
        found.problems.append(f"manifest: {int(known) - len(lines)} lines dropped since earlier")
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n") and number == len(lines):
            found.notes.append("manifest: the last line is torn")
            return
        try:
            entry = json.loads(line)
            own, before = entry.pop("hash"), entry["prevhash"]
        except (ValueError, KeyError, TypeError, AttributeError):
            found.problems.append(f"manifest, line {number}: edited: it cannot be read")
            continue
        if before != last:
            found.problems.append(f"manifest, line {number}: a line before it is dropped or edited")
        if sha256(canonical(entry)) != own:
            found.problems.append(f"manifest, line {number}: edited")
        if number == known and own != known_hash:
            found.problems.append(f"manifest, line {number}: it is another one than earlier")
        last = own
        found.manifest = [number, own]


def _look_at_segment(
    path: Path, record: SegmentRecord, found: Findings, earlier: tuple[int, str] | None
) -> None:
    """Follow the chain of one segment to its end."""
    name = path.stem
    walk = _Walk(name, record)
    for place, line in enumerate(lines_of(path), 1):
        if line.is_torn:
            if record.rows is not None or not is_written(path):
                found.notes.append(f"segment {name}, line {place}: torn, {line.size} bytes")
        elif line.row is None:
            walk.problems.append(f"line {place}: edited: it is no row")
        else:
            walk.step(line.row, place)
            if earlier and walk.number == earlier[0] and walk.last != earlier[1]:
                walk.problems.append(f"row {earlier[0] - 1}: it is another one than earlier")
    walk.end()
    if earlier and walk.number < earlier[0]:
        walk.problems.append(f"rows {walk.number} to {earlier[0] - 1}: dropped since earlier")
    found.problems += [f"segment {name}, {problem}" for problem in walk.problems]
    if walk.left_over:
        found.notes.append(
            f"segment {name}: {walk.left_over} rows were to be erased and are there; erase again"
        )
    found.notes += list(_notes(name, path, record))
    found.rows += walk.good
    found.erased += walk.erased
    found.heads[name] = [walk.number, walk.last]


class _Walk:
    """A walk along the chain: what the next row must be, and what was wrong so far."""

    def __init__(self, name: str, record: SegmentRecord) -> None:
        self._name, self._record = name, record
        self.number, self.last = 0, record.genesis
        self.good = self.erased = self.left_over = 0
        self.problems: list[str] = []

    def step(self, row: Row, place: int) -> None:
        """Take the next row; `place` is its line."""
        number = number_of(row, self._name)
        if number is None:
            self.problems.append(f"line {place}: its id is of another segment, or edited")
            return
        if number < self.number:
            self.problems.append(f"line {place}: row {number} is doubled, or moved there")
            return
        if number > self.number:
            self.problems.append(f"{_range(self.number, number)}: dropped")
        try:
            is_whole = row_hash(row) == row["hash"]
            if "erased" in row:  # the digest that it holds says nothing of what was put beside it
                is_whole = is_whole and row == tombstone(row, row["erased"])
        except (KeyError, TypeError, AttributeError, ValueError):
            is_whole = False
        follows = number > self.number or row.get("prevhash") == self.last
        is_allowed = "erased" not in row or self._record.has_erasure(number, row["erased"])
        if not is_whole:
            self.problems.append(f"row {number}: edited")
        elif not follows:
            self.problems.append(f"row {number}: it, or the row before it, was edited")
        elif not is_allowed:
            self.problems.append(f"row {number}: erased, and no erasure is on record")
        else:
            self.good += 1
            self.erased += "erased" in row
            self.left_over += "erased" not in row and number in self._record.erased
        self.number, self.last = number + 1, str(row.get("hash"))

    def end(self) -> None:
        """Compare with what was put on record when the segment was closed."""
        rows = self._record.rows
        if rows is None:
            return
        if self.number < rows:
            self.problems.append(f"{_range(self.number, rows)}: dropped from its end")
        elif self.number > rows:
            self.problems.append(f"{_range(rows, self.number)}: added after it was closed")
        elif self.last != self._record.last_hash:
            self.problems.append(f"row {rows - 1}: edited, the last one")


def _range(first: int, end: int) -> str:
    return f"row {first}" if end - first == 1 else f"rows {first} to {end - 1}"


def _notes(name: str, path: Path, record: SegmentRecord) -> Iterator[str]:
    for gap in record.gaps:
        yield (
            f"segment {name}, before row {gap.get('before')}: {gap.get('dropped')} answers have no "
            f"row, from {gap.get('since')} on: {gap.get('reason')}"
        )
    if record.rows is None and path.suffix == SUFFIX and not is_written(path):
        yield (
            f"segment {name}: its writer ended without closing it; until --compact or the next "
            "worker does, rows dropped from its end would not show"
        )
