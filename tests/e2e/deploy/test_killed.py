"""A sync that is killed is finished by the next one."""

from __future__ import annotations

import signal

import pytest

from tests.deploying import Deployer, Trap, wait_for
from tests.e2e.deploy.steps import loaded, served, stage, under_load
from tests.server import RunningServer


@pytest.mark.parametrize(
    ("words", "delay_s"),
    [
        ("has the sha256 on record", 0.0),
        (": loading iqa-", 0.4),
        ("workers ready after", 0.0),
        ("golden pictures within", 0.0),
        ("default: version", 0.0),
        ("default: version", 0.7),
    ],
    ids=["archive found", "while it loads", "loaded", "proven", "default set", "watched"],
)
def test_a_killed_sync_is_finished_by_the_next_one(
    serving: RunningServer, deploy: Deployer, words: str, delay_s: float
) -> None:
    """SIGKILL at any step loses no request, and one more sync makes it so."""
    before = served(serving)
    target = "3" if before != "3" else "5"
    if target in loaded(serving):
        deploy.run("drain", "--version", target)
    stage(target)
    with under_load(serving, per_s=10) as load:
        killed = deploy.start("sync", "--watch-s", "2", trap=Trap(words=words, delay_s=delay_s))
        assert killed.wait() == -signal.SIGKILL, killed.err
        assert served(serving) in (before, target)
        deploy.run("sync")
    load.expect_nothing_lost()
    assert served(serving) == target
    wait_for(lambda: len(loaded(serving)) <= 2, "the unloading behind")
    assert deploy.status()["served_version"] == target
