"""Reloads, what is left after a split or a death, one model at a time."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from scripts.nginx import settings
from scripts.nginx.reload import NoFront
from scripts.nginx.split import Split, SplitFront
from tests.dry_front import BODY, Dry, canary


def test_reloads_under_load_lose_no_request(dry: Dry) -> None:
    """Clients that keep their connections are answered through four begins and four ends."""
    stop = threading.Event()

    def send(_: int) -> collections.Counter[str]:
        told: collections.Counter[str] = collections.Counter()
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    url = f"http://127.0.0.1:{dry.port}/predictions/iqa"
                    told[session.post(url, data=BODY, timeout=5).text] += 1
                except requests.RequestException as error:
                    told[repr(error)] += 1
                time.sleep(0.002)
        return told

    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, number) for number in range(8)]
        for _ in range(4):
            dry.split.begin(canary(shares=(50.0,)))
            dry.split.give(1)
            dry.split.end()
        stop.set()
        told = sum((one.result() for one in sending), collections.Counter[str]())
    assert set(told) <= {"1 2000", "2 2000"}, told
    assert told.total() > 1000


def test_the_configuration_is_the_same_after_as_before(dry: Dry) -> None:
    """And nothing of the split is left in the front's folder, but for its lock."""
    config = dry.folder / "nginx.conf"
    before, files = config.read_text(), set(os.listdir(dry.folder))
    assert before == settings.render(dry.settings)
    dry.split.begin(canary())
    dry.split.give(2)
    assert config.read_text() != before
    dry.split.end()
    assert config.read_text() == before
    assert set(os.listdir(dry.folder)) - files <= {"split.lock"}


def test_a_split_of_a_process_that_died_is_taken_back(dry: Dry) -> None:
    """Whoever looks after it is named; the supervisor ends what a dead one left."""
    left = subprocess.run(
        [
            sys.executable, "-c",
            "import sys; from pathlib import Path\n"
            "from scripts.nginx.split import Split, SplitFront\n"
            "front = SplitFront(Path(sys.argv[1]))\n"
            "front.begin(Split(kind='canary', model_name='iqa', version='2', shares=(100.0,)))\n"
            "front.give(1)",
            str(dry.folder),
        ],
        check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert left.returncode == 0
    assert dry.ask().text == "2 2000"
    owner = dry.split.take_back_if_abandoned()
    assert owner is not None and owner.split == "a canary of iqa version 2"
    assert dry.ask().text == "1 2000"
    assert dry.split.take_back_if_abandoned() is None
    dry.split.begin(canary())  # in place of what was left
    assert dry.split.take_back_if_abandoned() is None
    assert dry.split.is_ours(canary())
    assert not dry.split.is_ours(canary("3"))


def test_one_model_at_a_time(dry: Dry) -> None:
    """Another model's split is refused, and leaves the one that is on as it is."""
    dry.split.begin(canary(shares=(100.0,)))
    dry.split.give(1)
    other = Split(kind="canary", model_name="other.one", version="2", shares=(100.0,))
    with pytest.raises(NoFront, match="requests split, got a canary of iqa version 2"):
        dry.split.begin(other)
    assert dry.ask().text == "2 2000"
    unknown = Split(kind="canary", model_name="cats", version="2", shares=(100.0,))
    with pytest.raises(NoFront, match="expected one that passes cats"):
        dry.split.begin(unknown)
    dry.split.end()
    dry.split.begin(other)
    dry.split.give(1)
    assert (dry.ask().text, dry.ask(path="/predictions/other.one").text) == ("1 2000", "2 2000")


def test_a_dead_front_is_said(tmp_path: Path) -> None:
    """Nothing is split where no front of this checkout runs."""
    with pytest.raises(NoFront, match="expected one that scripts/run_torchserve"):
        SplitFront(tmp_path).begin(canary())
    (tmp_path / "settings.json").write_text(json.dumps(settings.defaults()))
    with pytest.raises(NoFront, match="expected one that runs here, got none"):
        SplitFront(tmp_path).begin(canary())
