"""A build that is ended by circumstances: whom it blames, and what it leaves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from console.command_line import INTERRUPTED
from scripts.archive import build, build_process, ensure_archive, mar_file
from scripts.rollout import wanted_version
from scripts.server.http_client import NotNow
from training.registry import model_versions
from training.registry.availability import RegistryUnavailable

VERSION = ModelVersion("iqa", "2", 0)


def _raising(error: BaseException) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MlflowException("no such version", RESOURCE_DOES_NOT_EXIST), ValueError),
        (MlflowException("API request failed: 503"), RegistryUnavailable),
    ],
)
def test_a_version_is_missing_only_where_the_registry_says_so(
    monkeypatch: pytest.MonkeyPatch, error: MlflowException, kind: type[Exception]
) -> None:
    """Any other answer than that says nothing of the version."""
    client = SimpleNamespace(get_model_version=_raising(error))
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: client)
    with pytest.raises(kind):
        model_versions.get("iqa", "2")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("int8: expected the score to 1 point, got another."), 1),
        (RegistryUnavailable("registry: expected an answer, got none."), os.EX_TEMPFAIL),
        (NotNow("iqa-2.mar: expected its proof within 120 s"), os.EX_TEMPFAIL),
        (MlflowException("set_tag: 503"), os.EX_TEMPFAIL),
        (MemoryError(), os.EX_TEMPFAIL),
    ],
)
def test_the_exit_status_of_a_build_tells_circumstances_from_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    """And its last line is the reason."""
    monkeypatch.setattr(build_process, "connect", lambda: None)
    monkeypatch.setattr(model_versions, "get", lambda *_: VERSION)
    monkeypatch.setattr(build_process, "build", _raising(error))
    assert build_process.main(["iqa", "2", "store"]) == status
    said = str(error) or type(error).__name__
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {said}"


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (1, ValueError, "not built: its graph is damaged"),
        (os.EX_TEMPFAIL, NotNow, "version 2: not built now: its graph is damaged"),
        (INTERRUPTED, NotNow, "not built now"),  # Ctrl-C in a terminal reaches both
        (-9, NotNow, "version 2: expected its build to end by itself, got signal 9"),
    ],
)
def test_a_build_that_was_ended_says_nothing_of_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], words: str
) -> None:
    """Only a ValueError puts a version in quarantine."""
    done = SimpleNamespace(returncode=status, stderr="f32 9 ms\nerror: its graph is damaged.\n")
    monkeypatch.setattr(wanted_version.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(kind, match=words):
        wanted_version._build(VERSION, tmp_path)


def test_a_build_is_asked_for_in_the_words_that_its_process_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, version and model store reach the build as they were."""
    got: list[tuple[ModelVersion, Path]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command[1:3] == ["-m", build_process.__name__]
        return SimpleNamespace(returncode=build_process.main(command[3:]), stderr="proven\n")

    monkeypatch.setattr(wanted_version.subprocess, "run", run)
    monkeypatch.setattr(build_process, "connect", lambda: None)
    monkeypatch.setattr(model_versions, "get", lambda name, version: ModelVersion(name, version, 0))
    monkeypatch.setattr(
        build_process, "build", lambda version, store, *, replace: got.append((version, store))
    )
    wanted_version._build(VERSION, tmp_path)
    ((version, store),) = got
    assert (version.name, version.version, store) == ("iqa", "2", tmp_path)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (_raising(subprocess.TimeoutExpired("prove", 120)), "expected its proof within 120 s"),
        (lambda *_, **__: SimpleNamespace(returncode=-9, stderr=""), "end by itself, got signal 9"),
    ],
)
def test_a_proof_that_was_ended_refutes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any], words: str
) -> None:
    """A slow machine and a full memory are no fault of the archive."""
    monkeypatch.setattr(build.subprocess, "run", run)
    with pytest.raises(NotNow, match=f"iqa-2.mar: .*{words}"):
        build.prove(tmp_path / "iqa-2.mar")


class Registry:
    """Takes some tags of one version, then the process is killed."""

    def __init__(self, takes: int, **tags: str) -> None:
        self.takes, self.tags = takes, tags

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Keep a tag."""
        if not self.takes:
            raise KeyboardInterrupt
        self.takes -= 1
        self.tags[key] = value

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """Return the version with its tags."""
        found = ModelVersion(name, version, 0)
        found._tags = dict(self.tags)
        return found


@pytest.fixture
def _packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(*arguments: Any) -> str:
        arguments[3].write_bytes(b"new")
        return "f32"

    monkeypatch.setattr(build, "_pack", pack)
    monkeypatch.setattr(build, "prove", lambda mar: {"runtime": "openvino", "answers": {}})
    monkeypatch.setattr(build, "_expect_replaceable", lambda *_: None)
    monkeypatch.setattr(mar_file, "read_provenance", lambda mar: {})
    monkeypatch.setattr(mar_file, "changed_sources", lambda provenance: [])


@pytest.mark.usefixtures("_packed")
@pytest.mark.parametrize("takes", [0, 1, 2])
@pytest.mark.parametrize("has_old", [False, True])
def test_a_build_that_is_killed_between_its_tags_leaves_an_archive_that_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: int, has_old: bool
) -> None:
    """The one before, or the new one; a registry that has not heard of it has not got it placed."""
    target = tmp_path / "iqa-2.mar"
    registry = Registry(takes)
    if has_old:
        target.write_bytes(b"old")
        old = mar_file.sha256_of(target)
        registry.tags = {"mar_sha256": old, mar_file.digest_tag(old): old}
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: registry)
    before = registry.get_model_version("iqa", "2")
    with pytest.raises(KeyboardInterrupt):
        build.build(before, tmp_path, replace=True)
    expected = b"new" if takes else b"old"
    if not takes and not has_old:
        assert not target.exists()
        return
    for version in (registry.get_model_version("iqa", "2"), before):
        reading = ensure_archive.archive_of(version, tmp_path, _raising(AssertionError("built")))
        assert reading.path.read_bytes() == expected
        if not has_old:  # a version that was asked for before the build is built anew
            break


@pytest.mark.usefixtures("_packed")
def test_an_altered_archive_is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking the registry once more does not make it one on record."""
    (tmp_path / "iqa-2.mar").write_bytes(b"altered")
    registry = Registry(0, mar_sha256="0" * 64)
    monkeypatch.setattr(mlflow, "MlflowClient", lambda: registry)
    version = registry.get_model_version("iqa", "2")
    with pytest.raises(ValueError, match=r"expected sha256 0000.* It was altered or cut"):
        ensure_archive.archive_of(version, tmp_path, _raising(AssertionError("built")))
