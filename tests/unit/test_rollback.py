"""A rollback: what it leaves when something fails on the way, and what it says of the alias."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersion

from scripts.archive import golden
from scripts.rollout import loading, rollback
from scripts.rollout.deployment_records import Hold
from scripts.server.http_client import NotNow
from tests.unit.server_in_memory import Server, deployed, pictures_of
from training.registry import address, model_versions


class Registry:
    """Has one alias."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names = "2"
        monkeypatch.setattr(address, "connect", lambda **_: None)
        monkeypatch.setattr(model_versions, "holder_of", self._holder)
        monkeypatch.setattr(model_versions, "move_alias", self._move)

    def _holder(self, *_: str) -> ModelVersion:
        return ModelVersion("iqa", self.names, 0)

    def _move(self, name: str, alias: str, version: str, reason: str) -> None:
        self.names = version


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """MLflow, whose alias names version 2."""
    return Registry(monkeypatch)


@pytest.fixture(autouse=True)
def _golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "golden_of", lambda mar, version, told: pictures_of(version))
    monkeypatch.setattr(golden, "shortly", lambda reply: "83.00 (good)")
    monkeypatch.setattr(golden, "is_same", lambda mar, told: True)
    monkeypatch.setattr(loading.capacity, "expect_room", lambda *_: None)


@pytest.mark.parametrize(
    "failure",
    [NotNow("no answer"), ValueError("a.jpg: expected a score, got 503"), OSError(2, "no file")],
)
def test_a_picture_that_is_not_scored_does_not_stop_a_rollback_that_has_switched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    registry: Registry,
    failure: Exception,
) -> None:
    """It is warned of, and the alias moves back all the same."""
    server = Server("2", "12")
    plan = deployed(tmp_path, server, "12")

    def score(*_: object, **__: object) -> Any:
        raise failure

    monkeypatch.setattr(server, "score", score)
    with caplog.at_level(logging.WARNING):
        left, said = rollback.roll_back(plan)
    assert (left, server.served, registry.names) == ("2", "1", "1")
    assert said == "staging names the version that is served"
    assert str(failure) in caplog.text
    record = plan.records.read()
    assert (record.hold, list(record.retired_at_s)) == (None, ["2"])


def test_a_second_rollback_that_fails_leaves_the_hold_of_the_first(tmp_path: Path) -> None:
    """Else the next sync would serve what the first one left."""
    plan = deployed(tmp_path, Server("2", "23"), "12")
    earlier = Hold(version="2", alias_version="3", reason="rollback", since_s=1.0)
    with plan.records.changing() as record:
        record.hold = earlier
    (plan.store / "iqa-1.mar").unlink()
    with pytest.raises(NotNow, match="got another or none"):
        rollback.roll_back(plan)
    assert plan.records.read().hold == earlier


def test_a_rollback_that_fails_leaves_the_hold_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came meanwhile decided later."""
    plan = deployed(tmp_path, Server("2", "2"), "12")
    later = Hold(version="2", alias_version="3", reason="another rollback", since_s=2.0)

    def load(*_: object) -> None:
        with plan.records.changing() as record:
            record.hold = later
        raise NotNow("no room")

    monkeypatch.setattr(loading, "load", load)
    with pytest.raises(NotNow, match="no room"):
        rollback.roll_back(plan)
    assert plan.records.read().hold == later


@pytest.mark.usefixtures("registry")
def test_a_standby_whose_workers_are_dead_is_loaded_anew_for_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollback's own hold on it does not forbid that."""
    monkeypatch.setattr(loading, "READY_TIMEOUT_S", 0.3)
    server = Server("2", "12")
    server.kill_workers("1")
    rollback.roll_back(deployed(tmp_path, server, "12"))
    assert server.served == "1"
    assert server.versions["1"].is_ready


def test_a_rollback_says_where_the_alias_is(tmp_path: Path, registry: Registry) -> None:
    """Somebody may have moved it on before MLflow was asked: that version comes next."""
    registry.names = "4"
    server = Server("3", "23")
    plan = deployed(tmp_path, server, "23")
    _, said = rollback.roll_back(plan)
    assert said == "staging moved to version 4 meanwhile: the next sync brings that one"
    assert (registry.names, plan.records.read().hold) == ("4", None)
