"""
What a sweep remembers: `sweep.json` in its folder, written after each finished cell, and its run.

An ablation is a sweep whose cells differ in other things.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow.exceptions import MlflowException

from training.loop.config import TrainConfig
from training.loop.run_state import FREE_SETTINGS
from training.registry import tracking
from training.registry.address import tracking_uri

RECORD_FILE: Final = "sweep.json"


@dataclass(kw_only=True)
class SweepRecord:
    """
    Where a sweep stands.

    Attributes:
        directory: The sweep's folder.
        settings: What all cells share, as text; a continuation has the same.
        digests: Digests of the images and ratings of each split.
        parent_run_id: In MLflow.
        cells: What each finished cell gave, by its name: the keys are those that
            `training.experiments.leaderboard` or `training.experiments.ablation_table` reads.
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


@contextmanager
def parent_run(experiment: str, title: str, record: SweepRecord) -> Iterator[str]:
    """Open the sweep's run in MLflow, or the one of an earlier part; close it with its outcome."""
    client = mlflow.MlflowClient()
    if record.parent_run_id is None:
        tracking.select_experiment(experiment)
        found = client.get_experiment_by_name(experiment)
        assert found is not None
        run_id = str(client.create_run(found.experiment_id, run_name=title).info.run_id)
        for key, value in record.settings.items():
            client.log_param(run_id, key, value)
        for key, value in tracking.provenance().items():
            client.set_tag(run_id, key, value)
        record.parent_run_id = run_id
        record.save()
    run_id = record.parent_run_id
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise ValueError(
            f"{record.directory}: expected the sweep's run {run_id} in {tracking_uri()}, got: "
            f"{error.message} Set MLFLOW_TRACKING_URI as before, or name another folder: --out DIR."
        ) from error
    outcome = "FAILED"
    try:
        yield run_id
        outcome = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        outcome = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, outcome)


def shared_settings(config: TrainConfig, without: Collection[str]) -> dict[str, str]:
    """
    Return what must not change between the parts of a sweep, as text.

    Args:
        config: What all cells share.
        without: Settings that are each cell's own.
    """
    free = {*without, *FREE_SETTINGS}
    return {k: str(v) for k, v in dataclasses.asdict(config).items() if k not in free}
