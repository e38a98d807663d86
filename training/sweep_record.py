"""What a sweep remembers in its folder: `sweep.json`, written after each finished cell."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

RECORD_FILE: Final = "sweep.json"


@dataclass(kw_only=True)
class SweepRecord:
    """
    Where a sweep stands.

    Attributes:
        directory: Of the sweep.
        settings: What all cells share, as text; a continuation has the same.
        digests: Of the pictures and ratings of each split.
        parent_run_id: In MLflow.
        cells: What each finished cell gave, by its name; `training.leaderboard` says which keys.
    """

    directory: Path
    settings: dict[str, str]
    digests: dict[str, str]
    parent_run_id: str | None = None
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, directory: Path, settings: dict[str, str], digests: dict[str, str]
    ) -> SweepRecord:
        """
        Start a sweep in its folder, or continue the one that is there.

        Raises:
            ValueError: The one there has other settings, other pictures, or is unreadable.
        """
        path = directory / RECORD_FILE
        if not path.exists():
            return cls(directory=directory, settings=settings, digests=digests)
        try:
            saved = json.loads(path.read_text())
            record = cls(directory=directory, **saved)
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(
                f"{path}: expected the record of a sweep, got {type(error).__name__}: {error}. "
                "Remove it, or name another folder: --out DIR."
            ) from error
        record._check("settings", record.settings, settings)
        record._check("pictures", record.digests, digests)
        return record

    def check_weights(self, name: str, weights: str) -> None:
        """
        Refuse other starting weights for a cell that is finished.

        Raises:
            ValueError: They are others.
        """
        if name in self.cells:
            self._check(f"cell {name}", {"weights": self.cells[name]["weights"]},
                        {"weights": weights})  # fmt: skip

    def save(self) -> None:
        """Write the record in one rename."""
        self.directory.mkdir(parents=True, exist_ok=True)
        saved = {key: value for key, value in asdict(self).items() if key != "directory"}
        temporary = self.directory / (RECORD_FILE + ".tmp")
        temporary.write_text(json.dumps(saved, indent=2) + "\n")
        temporary.replace(self.directory / RECORD_FILE)

    def _check(self, what: str, began: dict[str, str], now: dict[str, str]) -> None:
        other = [key for key in sorted(began.keys() | now.keys()) if began.get(key) != now.get(key)]
        if other:
            before = ", ".join(f"{key}={began.get(key)}" for key in other)
            after = ", ".join(f"{key}={now.get(key)}" for key in other)
            raise ValueError(
                f"{self.directory}: expected the {what} that this sweep began with ({before}), "
                f"got {after}. Give the same, or name another folder: --out DIR."
            )
