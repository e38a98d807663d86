"""Two registered models under two names on one server: neither knows of the other."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import python
from tests.deploying import wait_for
from tests.server import RunningServer

PARROTS = (Path(__file__).parents[2] / "handler" / "golden" / "parrots.jpg").read_bytes()
OTHER = "portraits"
REGISTER = """
import sys
from training.registry.pretrained import register
from training.registry.address import connect
connect()
for name in sys.argv[1:]:
    register(name, "staging")
"""


@pytest.fixture(scope="module")
def both(make_server: Callable[..., RunningServer]) -> Iterator[RunningServer]:
    """The shipped model under two names, one worker each; the other one has two versions."""
    serving = make_server()
    done = python("-c", REGISTER, "iqa", OTHER, OTHER, **serving.environment)
    assert done.returncode == 0, done.stderr
    set_alias(serving, "1")
    done = serving.run("--detach", MODELS=f"iqa,{OTHER}", WORKERS="1")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{serving.logs()}"
    serving.first_words = done.stdout
    yield serving
    serving.run("--stop")


def set_alias(serving: RunningServer, version: str) -> None:
    """Let the other model's alias name a version."""
    done = python(
        "-m", "scripts.set_alias", OTHER, version, "--alias", "staging", **serving.environment
    )
    assert done.returncode == 0, done.stderr


def deploy(serving: RunningServer, *words: str, expected: int = 0) -> str:
    """Run `scripts.deploy` for the other model; return what it said."""
    short = ["--longest-request-s", "0.5"] + (["--watch-s", "0.5"] if words[0] == "sync" else [])
    done = python(
        "-m", "scripts.deploy", *words, "--model-name", OTHER, *short, **serving.environment
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


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
    assert {path.name for path in both.model_store.glob("*.mar")} == {"iqa-1.mar", f"{OTHER}-1.mar"}


def test_readiness_is_told_for_each_and_for_all(both: RunningServer) -> None:
    """/ready is about the server, /ready/NAME about one of its models."""
    for path in ("/ready", "/ready/iqa", f"/ready/{OTHER}"):
        wait_for(lambda path=path: both.health(path).status_code == 200, path)
    assert both.health("/ready/unknown").status_code == 404


def test_one_is_swapped_and_rolled_back_alone(both: RunningServer) -> None:
    """A sync and a rollback of one model leave the other's version and record as they are."""
    deploy(both, "sync")  # version 1 is on record as good from here on
    set_alias(both, "2")
    assert f"{OTHER} version 2 is served; version 1 was before" in deploy(both, "sync")
    assert served(both) == {"iqa": "1", OTHER: "2"}
    assert f"{OTHER} version 1 is served again" in deploy(both, "rollback")
    assert served(both) == {"iqa": "1", OTHER: "1"}
    records = {path.name for path in (both.state_dir / "rollouts").glob("*.json")}
    assert records == {f"{OTHER}.json"}


def test_one_is_quarantined_alone(both: RunningServer) -> None:
    """An altered archive of one model is refused; the other goes on, and so does its good one."""
    set_alias(both, "2")
    archive = both.model_store / f"{OTHER}-2.mar"
    original = archive.read_bytes()
    deploy(both, "sync")
    deploy(both, "rollback")
    both.torchserve(OTHER).unload("2")
    archive.write_bytes(original + b" ")
    set_alias(both, "2")
    try:
        assert "sha256" in deploy(both, "sync", expected=1)
        assert f"--model-name {OTHER} --retry" in deploy(both, "sync", expected=1)
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
    pid = both.state()["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: both.state()["pid"] != pid, "another TorchServe")
    wait_for(lambda: both.health("/ready").status_code == 200, "ready again")
    assert served(both) == before


def test_an_unknown_model_is_refused_with_the_way_to_start_it(both: RunningServer) -> None:
    """A sync of a model that this server was not started with changes nothing."""
    done = python(
        "-m", "scripts.deploy", "sync", "--model-name", "cats", **both.environment
    )  # fmt: skip
    assert done.returncode == 1
    assert "--models iqa,portraits,cats" in done.stderr
