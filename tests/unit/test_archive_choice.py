"""With which archive TorchServe is started again."""

from __future__ import annotations

import logging
import os
import signal
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from scripts.archive import archives_in_registry, last_known_alias, mar_file
from scripts.archive.ensure_archive import archive_of
from scripts.rollout.deployment_records import Good, Hold, Record, Records
from scripts.server.http_client import NotNow
from scripts.server.models import ServedModel
from scripts.server.state import StateDir
from scripts.supervisor import alias_archive, start_archive
from scripts.supervisor.start_archive import Chosen, Served, after_a_crash
from training.registry.availability import RegistryUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three archives."""
    for version in "123":
        (tmp_path / f"iqa-{version}.mar").write_text(f"archive {version}")
    return tmp_path


def _good(store: Path, version: str) -> Good:
    name = f"iqa-{version}.mar"
    return Good(version=version, mar=name, sha256=mar_file.sha256_of(store / name))


def _served(store: Path, version: str) -> Served:
    mar = store / f"iqa-{version}.mar"
    return Served(version=version, mar=mar, sha256=mar_file.sha256_of(mar))


def _names(mars: list[Path]) -> list[str]:
    return [mar.name for mar in mars]


def test_what_was_served_comes_first_then_the_last_good_then_the_first_start(store: Path) -> None:
    """A version under probation is served again; behind it stand those that are known."""
    record = Record(good=[_good(store, "1"), _good(store, "2")])
    mars = after_a_crash(_served(store, "3"), store / "iqa-1.mar", record, store)
    assert _names(mars) == ["iqa-3.mar", "iqa-2.mar", "iqa-1.mar"]


def test_an_altered_archive_is_not_started_again(store: Path) -> None:
    """Other bytes under the name that was served are nobody's proven version."""
    served = _served(store, "2")
    served.mar.write_text("altered")
    assert _names(after_a_crash(served, store / "iqa-1.mar", Record(), store)) == ["iqa-1.mar"]


def test_a_quarantine_beats_what_was_served(store: Path) -> None:
    """A version that was refused while it crashed the server is not started again."""
    record = Record(good=[_good(store, "1")])
    record.refuse("2", "its workers died")
    mars = after_a_crash(_served(store, "2"), store / "iqa-2.mar", record, store)
    assert _names(mars) == ["iqa-1.mar"]


def test_a_rollback_beats_what_was_seen_before_it(store: Path) -> None:
    """The last look may be a second old; a hold is newer."""
    hold = Hold(version="1", alias_version="2", reason="by hand", since_s=0.0)
    record = Record(good=[_good(store, "1")], hold=hold)
    mars = after_a_crash(_served(store, "2"), store / "iqa-2.mar", record, store)
    assert _names(mars)[0] == "iqa-1.mar"


def test_with_nothing_left_the_alias_is_to_be_asked(store: Path) -> None:
    """An empty list says so."""
    served = _served(store, "2")
    served.mar.unlink()
    assert after_a_crash(served, store / "iqa-2.mar", Record(), store) == []


def test_a_start_serves_what_it_has_while_a_version_is_not_published_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so; with nothing in the store it says what is to be published."""
    monkeypatch.setenv(archives_in_registry.VARIABLE, archives_in_registry.REGISTRY)
    monkeypatch.setattr(alias_archive, "connect", lambda **_: None)
    monkeypatch.setattr(alias_archive, "_resolve", lambda *_: ModelVersion("iqa", "2", 0))
    known = Records(state=StateDir.at(tmp_path / "state"), model_name="iqa")
    command = "build_mar --model-name iqa --version 2 --publish"
    with pytest.raises(alias_archive.NoArchive, match=f"{command}.*to fall back on"):
        alias_archive.served_archive("iqa", "staging", tmp_path, known)
    mar = tmp_path / "iqa-1.mar"
    with zipfile.ZipFile(mar, "w") as archive:
        archive.writestr(mar_file.PROVENANCE, "{}")
    with caplog.at_level(logging.WARNING):
        assert alias_archive.served_archive("iqa", "staging", tmp_path, known) == mar
    assert f"{command}; serving the last proven archive, iqa-1.mar" in caplog.text


def test_without_the_registry_a_start_serves_nothing_that_was_refused(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the newest archive nor the one that the alias named last, if it is in quarantine."""

    def no_answer(*_: object) -> None:
        raise RegistryUnavailable("registry: expected an answer, got none.")

    monkeypatch.setattr(alias_archive, "connect", lambda **_: None)
    monkeypatch.setattr(alias_archive, "_resolve", no_answer)
    known = Records(state=StateDir.at(store / "state"), model_name="iqa")
    with known.changing() as record:
        record.add_good(_good(store, "2"))
        record.refuse("3", "golden pictures: 12 points off")
    for _ in range(2):
        caplog.clear()
        chosen = alias_archive.served_archive("iqa", "staging", store, known)
        assert chosen.name == "iqa-2.mar"
        assert "does not answer" in caplog.text
        assert "quarantined: golden pictures: 12 points off. Serving version 2" in caplog.text
        last_known_alias.write("iqa", "staging", store / "iqa-3.mar")


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("set_tag: 503"),
        RegistryUnavailable("registry: expected an answer, got none."),
        NotNow("portraits-1.mar: expected its proof within 120 s, got no end of it."),
    ],
)
@pytest.mark.parametrize("has_old", [True, False])
def test_what_ends_the_build_of_one_model_does_not_end_the_start_of_the_others(
    store: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, has_old: bool
) -> None:
    """It gets its last archive, or it is named with the reason."""
    monkeypatch.setattr(alias_archive, "connect", lambda **_: None)
    monkeypatch.setattr(alias_archive, "_resolve", lambda name, alias: ModelVersion(name, "1", 0))
    monkeypatch.setattr(mar_file, "read_provenance", lambda mar: {})
    old = store / "portraits-0.mar"
    if has_old:
        old.write_text("archive 0")

    def archive_of(version: ModelVersion, store: Path, build: object) -> mar_file.Reading:
        if version.name == "portraits":
            raise error
        return mar_file.Reading(store / "iqa-1.mar")

    monkeypatch.setattr(alias_archive, "archive_of", archive_of)
    models = [ServedModel(name=name, alias="staging") for name in ("iqa", "portraits")]
    plan: Any = SimpleNamespace(
        models=models, state=StateDir.at(store / "state"), store=store, debug=True
    )
    sent: list[Chosen] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        start_archive._choose(plan, SimpleNamespace(send=sent.append))  # type: ignore[arg-type]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    (chosen,) = sent
    assert chosen.mars == {"iqa": store / "iqa-1.mar"} | ({"portraits": old} if has_old else {})
    assert list(chosen.refused) == ([] if has_old else ["portraits"])


def _die(plan: object, sender: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_start_whose_archive_is_not_built_for_want_of_memory_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else can: the process that builds was killed before it could say a word."""
    monkeypatch.setattr(start_archive, "_choose", _die)
    choice = start_archive.Choice(None, "fork")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="expected its answer, got its end by signal 9"):
        choice.wait(threading.Event())
    choice.close()


@pytest.mark.parametrize("source", ["", archives_in_registry.REGISTRY])
def test_what_a_killed_build_or_download_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Of those that may still run nothing is touched."""
    monkeypatch.setenv(archives_in_registry.VARIABLE, source)
    left, running = tmp_path / ".build-left", tmp_path / ".build-running"
    left.mkdir()
    running.mkdir()
    os.utime(left, (0, 0))

    def build(*_: object) -> None:
        raise NotNow("not now")

    with pytest.raises(NotNow):
        archive_of(ModelVersion("iqa", "2", 0), tmp_path, build)
    assert [path.name for path in tmp_path.iterdir()] == [running.name]
