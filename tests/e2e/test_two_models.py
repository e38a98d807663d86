"""Two registered models under two names on one server: neither knows of the other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests

from tests.conftest import python
from tests.deploying import SURPLUS, Command, Deployer, Load, wait_for
from tests.server import MakeServer, RunningServer

PARROTS = (Path(__file__).parents[2] / "handler" / "golden" / "parrots.jpg").read_bytes()
OTHER = "portraits"
SWAPS = int(os.environ.get("TWO_MODELS_SWAPS", "6"))
"""Of the one model; each takes seconds (docs/reliability.md)."""
RATE_PER_S = float(os.environ.get("TWO_MODELS_RATE_PER_S", "3"))
REGISTER = """
import sys
from pathlib import Path
from benchmarks.reliability.versions import copy_archive, put_on_record
from training.registry.address import connect
from training.registry.pretrained import register
connect()
source, store = map(Path, sys.argv[1:3])
for name in sys.argv[3:]:
    version = str(register(name, "staging").version)
    if (name, version) == (sys.argv[-1], "1"):
        continue  # that one is built by the start
    copy_archive(source, store / f"{name}-{version}.mar", name, version)
    put_on_record(store, version, name)
"""


@pytest.fixture(scope="module")
def both(
    shipped: tuple[Path, Path],
    make_server: MakeServer,
    empty_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    """The shipped model under two names, one worker each; both have two versions."""
    registry = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copyfile(empty_store, registry)
    serving = make_server(f"sqlite:///{registry}")
    serving.model_store.mkdir()
    names = ("iqa", "iqa", OTHER, OTHER)
    done = python(
        "-c", REGISTER, str(shipped[0]), str(serving.model_store), *names, **serving.environment
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    serving.environment |= {"MODELS": f"iqa,{OTHER}", "WORKERS": "1"}
    return serving.start()


@pytest.fixture(scope="module")
def commands(both: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    """Runs commands with that server's environment."""
    before = dict(os.environ)
    yield Deployer(tmp_path_factory.mktemp("commands"), both.environment)
    os.environ.clear()
    os.environ.update(before)


def set_alias(commands: Deployer, version: str, name: str = OTHER) -> None:
    """Let a model's alias name a version."""
    commands.run(name, version, "--alias", "staging", program="scripts.set_alias")


def deploy(commands: Deployer, *words: str, expected: int = 0) -> str:
    """Run `scripts.deploy` for the other model, or for all; return what it said."""
    about = () if "--all" in words else ("--model-name", OTHER)
    done = commands.run(*words, *about, expected=expected)
    return done.out + done.err


def kill_java(serving: RunningServer) -> None:
    """Let TorchServe die, and wait until another one is there."""
    pid = serving.state()["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: serving.state()["pid"] != pid, "another TorchServe")


@contextlib.contextmanager
def watching(commands: Deployer) -> Iterator[Command]:
    """Follow both aliases by one `sync --watch --all`."""
    words = ["--all", "--watch", "--poll-s", "0.2", "--watch-s", "0.2", "--longest-request-s", "1"]
    watch = commands.start("sync", *words)
    try:
        yield watch
    finally:
        assert watch.terminate() == 0, watch.err


def served(serving: RunningServer) -> dict[str, str | None]:
    """Return the default version of each model."""
    found = {name: serving.torchserve(name).default() for name in ("iqa", OTHER)}
    return {name: one.version if one else None for name, one in found.items()}


def score(serving: RunningServer, name: str) -> dict[str, Any]:
    """Score an image with one of the models."""
    code, reply = serving.torchserve(name).score(PARROTS)
    assert code == 200, reply
    return reply


def test_both_are_started_and_answer_under_their_names(both: RunningServer) -> None:
    """One start, two addresses; each reply names its model, and the scores are the same."""
    assert f"/predictions/{OTHER}" in both.first_words
    assert served(both) == {"iqa": "1", OTHER: "1"}
    ours, theirs = score(both, "iqa"), score(both, OTHER)
    assert (ours["model"]["name"], theirs["model"]["name"]) == ("iqa", OTHER)
    assert ours["score"] == theirs["score"]
    for name, status in (("iqa", 200), (OTHER, 200), ("cats", 404), (f"{OTHER}/1", 404)):
        url = both.url("INFERENCE_PORT", f"/predictions/{name}")
        reply = requests.post(url, data=PARROTS, timeout=60)  # through the front
        assert reply.status_code == status, reply.text
    archives = {f"{name}-{number}.mar" for name in ("iqa", OTHER) for number in (1, 2)}
    assert {path.name for path in both.model_store.glob("*.mar")} == archives
    assert {both.torchserve(name).loaded()["1"].mar for name in ("iqa", OTHER)} == {
        "iqa-1.mar", f"{OTHER}-1.mar",
    }  # fmt: skip


def test_readiness_is_told_for_each_and_for_all(both: RunningServer) -> None:
    """/ready is about the server, /ready/NAME about one of its models."""
    for path in ("/ready", "/ready/iqa", f"/ready/{OTHER}"):
        wait_for(lambda path=path: both.health(path).status_code == 200, path)
    assert both.health("/ready/unknown").status_code == 404


def test_one_is_swapped_and_rolled_back_alone(both: RunningServer, commands: Deployer) -> None:
    """A sync and a rollback of one model leave the other's version and record as they are."""
    deploy(commands, "sync")  # version 1 is on record as good from here on
    set_alias(commands, "2")
    assert f"{OTHER} version 2 is served; version 1 was before" in deploy(commands, "sync")
    assert served(both) == {"iqa": "1", OTHER: "2"}
    assert f"{OTHER} version 1 is served again" in deploy(commands, "rollback")
    assert served(both) == {"iqa": "1", OTHER: "1"}
    records = {path.name for path in (both.state_dir / "rollouts").glob("*.json")}
    assert records == {f"{OTHER}.json"}


def test_one_is_quarantined_alone(both: RunningServer, commands: Deployer) -> None:
    """An altered archive of one model is refused; the other goes on, and so does its good one."""
    set_alias(commands, "2")
    archive = both.model_store / f"{OTHER}-2.mar"
    original = archive.read_bytes()
    deploy(commands, "sync")
    deploy(commands, "rollback")
    both.torchserve(OTHER).unload("2")
    archive.write_bytes(original + b" ")
    set_alias(commands, "2")
    try:
        assert "sha256" in deploy(commands, "sync", expected=1)
        assert f"--model-name {OTHER} --retry" in deploy(commands, "sync", expected=1)
    finally:
        archive.write_bytes(original)
    record = json.loads((both.state_dir / "rollouts" / f"{OTHER}.json").read_text())
    assert record["quarantine"]["version"] == "2"
    assert served(both) == {"iqa": "1", OTHER: "1"}
    assert not (both.state_dir / "rollouts" / "iqa.json").exists()
    assert score(both, "iqa")["model"]["version"] == "1"


def test_a_crash_brings_both_back(both: RunningServer) -> None:
    """TorchServe that dies is started again with what each model served."""
    before = served(both)
    kill_java(both)
    wait_for(lambda: both.health("/ready").status_code == 200, "ready again")
    assert served(both) == before


def test_commands_speak_of_all_models(both: RunningServer, commands: Deployer) -> None:
    """--all is a block for each model; with --json an object by name."""
    for name in ("iqa", OTHER):
        set_alias(commands, "1", name)
    said = deploy(commands, "sync", "--all")
    assert "iqa version 1 is served" in said
    assert f"{OTHER} version 1 is served" in said
    told = json.loads(deploy(commands, "status", "--all", "--json"))
    assert {name: one["served_version"] for name, one in told.items()} == {"iqa": "1", OTHER: "1"}
    assert all(one["ready"] for one in told.values())


def test_one_watch_follows_every_alias_and_loses_nothing(
    both: RunningServer, commands: Deployer
) -> None:
    """Swaps of one model, and one of the other, under load on both: every request is scored."""
    urls = {name: both.url("INFERENCE_PORT", f"/predictions/{name}") for name in ("iqa", OTHER)}
    uri = both.environment["MLFLOW_TRACKING_URI"]
    # Without its own address it asks the registry that another test's connect() left behind.
    registry = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def move(name: str, version: str) -> None:
        registry.set_registered_model_alias(name, "staging", version)
        model = both.torchserve(name)
        wait_for(lambda: (now := model.default()) and now.version == version, f"{name} {version}")

    with (
        watching(commands) as watch,
        Load(urls["iqa"], PARROTS, RATE_PER_S) as ours,
        Load(urls[OTHER], PARROTS, RATE_PER_S) as theirs,
    ):
        for i in range(SWAPS):
            move(OTHER, "2" if i % 2 == 0 else "1")
        move("iqa", "2")
        move("iqa", "1")
    for name, load in (("iqa", ours), (OTHER, theirs)):
        scored = Counter(one.version for one in load.answers() if one.status == 200)
        others = Counter(one.version for one in load.answers() if one.status != 200)
        print(f"{name}: scored by version {dict(scored)}, refused {others.total()}")
        refused = [text for text in others if json.loads(text)["reason"] in SURPLUS]
        assert [*others] == refused, others
        assert set(scored) == {"1", "2"}
        assert scored.total() > others.total()
    assert f"{OTHER}: {OTHER} version 2 is served" in watch.out + watch.err


def test_a_crash_with_a_damaged_archive_of_one_brings_the_other_back(
    both: RunningServer, commands: Deployer
) -> None:
    """The one that is left serves and says so; a sync loads the other once it is mended."""
    set_alias(commands, "1")
    deploy(commands, "sync")
    whole = {path: path.read_bytes() for path in both.model_store.glob(f"{OTHER}-*.mar")}
    workers = len(both.torchserve(OTHER).loaded()["1"].pids)
    for path, content in whole.items():
        path.write_bytes(content[: len(content) // 2])
    try:
        kill_java(both)
        wait_for(lambda: both.health("/ready/iqa").status_code == 200, "the other one ready")
        assert score(both, "iqa")["model"]["name"] == "iqa"
        assert both.health("/ready").status_code == 503
        assert "no version is loaded" in both.health(f"/ready/{OTHER}").json()["reason"]
        assert f"{OTHER}: no version is loaded" in both.run("--status").stdout
    finally:
        for path, content in whole.items():
            path.write_bytes(content)
    deploy(commands, "sync")
    wait_for(lambda: both.health("/ready").status_code == 200, "both ready")
    assert len(both.torchserve(OTHER).loaded()["1"].pids) == workers  # as at the start
    assert score(both, OTHER)["model"]["name"] == OTHER


def test_a_start_with_a_damaged_archive_of_one_serves_the_other(
    both: RunningServer, commands: Deployer
) -> None:
    """The start says what is not served and why, and a sync brings it."""
    assert both.run("--stop").returncode == 0
    archive = both.model_store / f"{OTHER}-1.mar"
    whole = archive.read_bytes()
    archive.write_bytes(whole + b" ")
    try:
        done = both.run("--detach", MODELS=f"iqa,{OTHER}", WORKERS="1")
    finally:
        archive.write_bytes(whole)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{OTHER} is not served: " in done.stderr
    assert f"--model-name {OTHER} --retry" in done.stderr
    assert score(both, "iqa")["model"]["version"] == "1"
    deploy(commands, "sync", "--retry")
    assert score(both, OTHER)["model"]["version"] == "1"
    wait_for(lambda: both.health("/ready").status_code == 200, "both ready")


def test_an_unknown_model_is_refused_with_the_way_to_start_it(commands: Deployer) -> None:
    """A sync of a model that this server was not started with changes nothing."""
    done = commands.run("sync", "--model-name", "cats", expected=1)
    assert "--models iqa,portraits,cats" in done.err
