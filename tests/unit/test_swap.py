"""The steps of a sync on a server in memory: what comes between them, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from scripts.archive import golden, last_known_alias, mar_file
from scripts.rollout import loading, rollback, sync, wanted_version, watch_after_switch
from scripts.rollout.settings import Superseded
from scripts.rollout.watch_after_switch import Failures
from scripts.server.state import replace_text
from tests.unit.server_in_memory import Server, deployed, pictures_of
from training.registry import address
from training.registry.availability import RegistryUnavailable


@pytest.fixture
def alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the alias `names`, in an MLflow where every archive is on record; nothing is built."""
    alias = SimpleNamespace(names="2")

    def version_of(version: str) -> ModelVersion:
        digest = mar_file.sha256_of(tmp_path / "store" / f"iqa-{version}.mar")
        found = ModelVersion("iqa", version, 0)
        found._tags = {"mar_sha256": digest, mar_file.digest_tag(digest): digest}
        return found

    def move(name: str, alias_: str, version: str) -> None:
        alias.names = version

    def reading_of(version: ModelVersion, store: Path, *_: object) -> mar_file.Reading:
        return mar_file.Reading(mar_file.mar_path(store, "iqa", str(version.version)))

    monkeypatch.setattr(address, "connect", lambda **_: None)
    alias.client = SimpleNamespace(
        get_model_version_by_alias=lambda *_: version_of(alias.names),
        get_model_version=lambda name, version: version_of(version),
        set_model_version_tag=lambda *_: None,
        set_registered_model_alias=move,
    )
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: alias.client)
    monkeypatch.setattr(wanted_version, "archive_of", reading_of)
    monkeypatch.setattr(loading.capacity, "expect_room", lambda *_: None)
    monkeypatch.setattr(golden, "is_same", lambda mar, told: True)
    monkeypatch.setattr(golden, "golden_of", lambda mar, version, told: pictures_of(version))
    monkeypatch.setattr(golden, "shortly", lambda reply: "83.00 (good)")
    return alias


def _before(what: Callable[..., Any], act: Callable[[], object]) -> Callable[..., Any]:
    """Return `what`, with something that somebody else does before it, the first time."""
    left = [act]

    def both(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return what(*arguments, **options)

    return both


def test_a_rollback_at_the_end_of_the_watch_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: SimpleNamespace
) -> None:
    """The version that it left is not put on record as good, and no start is told to serve it."""
    server = Server("1", "1")
    plan = deployed(tmp_path, server, "1")

    def watched(*_: object) -> None:
        rollback.roll_back(plan)

    monkeypatch.setattr(watch_after_switch, "watch", watched)
    assert sync.sync(plan) == "iqa version 1 is served, as wanted"
    record = plan.records.read()
    assert (server.served, alias.names) == ("1", "1")
    assert [good.version for good in record.good] == ["1"]
    assert list(record.retired_at_s) == ["2"]
    note = last_known_alias.read("iqa", "staging", plan.store)
    assert note == plan.store / "iqa-1.mar"


def test_a_picture_that_another_version_answers_after_a_rollback_is_nobodys_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default changed between the watch's look at it and its golden picture."""
    server = Server("2", "12")
    plan = deployed(tmp_path, server, "12")
    moved = _before(server.score, lambda: server.set_default("1"))
    monkeypatch.setattr(server, "score", moved)
    with pytest.raises(Superseded, match="another one is the default"):
        watch_after_switch.watch(
            plan, pictures_of("2"), server.versions["2"], Failures(failed=0, total=0)
        )


@pytest.mark.parametrize("wanted", ["1", "3"])
def test_a_version_that_is_not_to_serve_after_all_goes_only_if_nobody_asked_it(
    wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: SimpleNamespace
) -> None:
    """The standby, 1, may have requests in hand and stays; 3 was loaded for this and is gone."""
    server = Server("2", "12")
    plan = deployed(tmp_path, server, "12")
    alias.names = wanted
    proven: list[list[str]] = []

    def moves_back() -> None:
        proven.append(sorted(server.versions))
        alias.names = "2"

    monkeypatch.setattr(loading, "prove", _before(loading.prove, moves_back))
    assert sync.sync(plan) == "iqa version 2 is served, as wanted"
    assert proven == [sorted({"1", "2", wanted})]
    assert sorted(server.versions) == ["1", "2"]


@pytest.mark.usefixtures("alias")
def test_a_note_for_starts_that_is_missing_or_stale_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sync that was killed before it wrote the note is made up for; one that is right stays."""
    plan = deployed(tmp_path, Server("2", "12"), "12")
    last_known_alias.write("iqa", "staging", plan.store / "iqa-1.mar")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(last_known_alias, "replace_text", full)
    sync.sync(plan)
    assert "will not know of iqa-2.mar: [Errno 28]" in caplog.text
    monkeypatch.setattr(last_known_alias, "replace_text", replace_text)
    sync.sync(plan)
    assert last_known_alias.read("iqa", "staging", plan.store) == plan.store / "iqa-2.mar"
    monkeypatch.setattr(last_known_alias, "replace_text", full)
    caplog.clear()
    sync.sync(plan)
    assert caplog.text == ""


def test_a_version_is_not_to_blame_for_a_registry_that_fails_once(
    tmp_path: Path, alias: SimpleNamespace
) -> None:
    """It is tried again: no quarantine, and what is served stays."""
    server = Server("1", "1")
    plan = deployed(tmp_path, server, "1")

    def fails(*_: str) -> None:
        raise MlflowException("API request failed: 503")

    alias.client.get_model_version = fails
    with pytest.raises(RegistryUnavailable, match="503"):
        sync.sync(plan)
    assert (plan.records.read().quarantine, server.served) == (None, "1")
