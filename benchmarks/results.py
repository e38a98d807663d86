"""The results' file: written after each step, so that nothing measured is lost."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.measured_steps import Step

FORMAT: Final = 1


@dataclass(kw_only=True)
class Results:
    """
    What was measured so far.

    Attributes:
        path: The file.
        facts: Plan, archive, machine and versions that the figures belong to.
        started_at: Local time, ISO 8601.
        finished_at: The same; empty while steps are left.
        steps: Key -> record: the step, when it ended, and what was measured or `error`.
        servers: Contender -> title, note, time to the first score, warming up.
        pictures: Name -> bytes.
        not_started: Contender -> why.
    """

    path: Path
    facts: dict[str, Any]
    started_at: str
    finished_at: str = ""
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: dict[str, int] = field(default_factory=dict)
    not_started: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, facts: dict[str, Any], *, resume: bool) -> Results:
        """
        Begin a file, or go on with one; a finished one is kept under another name.

        Raises:
            ValueError: The file to go on with is of another plan or archive.
            FileNotFoundError: There is none to go on with.
        """
        if not resume:
            if path.exists():
                path.replace(path.with_suffix(".previous.json"))
            return cls(path=path, facts=facts, started_at=_now())
        old = cls.read(path)
        for name in ("plan", "archive"):
            if old.facts[name] != facts[name]:
                raise ValueError(
                    f"{path.name}: expected the {name} {facts[name]}, got {old.facts[name]}. "
                    "Run without --resume."
                )
        # What failed gets another chance.
        old.steps = {key: record for key, record in old.steps.items() if "error" not in record}
        old.not_started = {}
        old.finished_at = ""
        return old

    @classmethod
    def read(cls, path: Path) -> Results:
        """
        Read a file.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It has another format.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected results, found none. Run: make bench")
        document = json.loads(path.read_text())
        if document.pop("format", None) != FORMAT:
            raise ValueError(f"{path}: expected results of format {FORMAT}. Run: make bench")
        return cls(path=path, **document)

    def has(self, key: str) -> bool:
        """Say whether a step is measured."""
        return key in self.steps

    def failed(self) -> dict[str, str]:
        """Return the steps that could not be measured, and why."""
        return {key: one["error"] for key, one in self.steps.items() if "error" in one}

    def add(self, step: Step, record: dict[str, Any]) -> None:
        """Keep a step's record, on disk as well."""
        self.steps[step.key] = {"step": asdict(step), "ended_at": _now(), **record}
        self._write()

    def finish(self) -> None:
        """Say that no step is left."""
        self.finished_at = _now()
        self._write()

    def _write(self) -> None:
        document = {"format": FORMAT, **{k: v for k, v in vars(self).items() if k != "path"}}
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(document, indent=1) + "\n")
        unfinished.replace(self.path)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
