"""Three real TorchServe, each with its front and side-car, behind one nginx; one alias."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import mlflow
import pytest
import requests
from iqa.network import checkpoint

from benchmarks.reliability.mlflow_server import MlflowServer
from benchmarks.reliability.versions import (
    Change,
    add_version,
    copy_archive,
    not_golden,
    put_on_record,
)
from console.paths import ROOT
from scripts import front
from scripts.archive import mar_file
from scripts.nginx.program import nginx_command, nginx_program
from tests.deploying import SURPLUS, Command, Deployer, wait_for
from tests.ports import free_port
from tests.quick import Quick
from tests.server import MakeServer, RunningServer
from training.registry import address, model_versions, promotion, tracking

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
NAMES = ("a", "b", "c")
MOVES = int(os.environ.get("FLEET_MOVES", "3"))
SHARE_OF_CAPACITY = 0.6
CLIENTS = 12
CAPACITY_S = 4.0
WATCH_S = 1.0
POLL_S = 1.0


@dataclass
class Fleet:
    """
    The servers and their address.

    Attributes:
        servers: By name.
        url: Of the nginx before them.
        folder: That their side-cars share.
        deploy: Runs `scripts.deploy`.
    """

    servers: dict[str, RunningServer]
    url: str
    folder: Path
    deploy: Deployer

    def start(self, name: str, *argv: str) -> Command:
        """Start a command of a server's side-car."""
        os.environ.update(self.servers[name].environment)
        words = ("--fleet", str(self.folder), "--replica", name)
        watch = ("--watch-s", str(WATCH_S)) if argv[0] == "sync" else ()
        return self.deploy.start(*argv, *words, *watch)

    def run(self, name: str, *argv: str, expected: int = 0) -> Command:
        """Run one to its end and check its exit status."""
        command = self.start(name, *argv)
        status = command.wait()
        assert status == expected, f"{name} {argv}: {status}\n{command.out}\n{command.err}"
        return command

    def served(self) -> dict[str, str]:
        """Return what each server's default version is."""
        return {name: one.manage()[0]["modelVersion"] for name, one in self.servers.items()}

    def add(self, change: Change | None = None) -> str:
        """Register one more version, proven, in each server's store."""
        first, *others = (server.model_store for server in self.servers.values())
        version = add_version(first, change)
        for store in others:
            shutil.copy(mar_file.mar_path(first, "iqa", version), store)
        return version

    @contextmanager
    def followed(self, *options: str) -> Iterator[dict[str, Command]]:
        """Let a side-car follow the alias for each server."""
        words = ("sync", "--watch", "--poll-s", str(POLL_S), *options)
        commands = {name: self.start(name, *words) for name in self.servers}
        try:
            yield commands
        finally:
            for command in commands.values():
                command.terminate()


@pytest.fixture(scope="module")
def fleet(
    empty_store: Path,
    quick: Quick,
    make_server: MakeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """Version 1 on all three, with a registry of their own."""
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copyfile(empty_store, folder / "server.db")
    registry = MlflowServer(folder, free_port())
    before = dict(os.environ)
    try:
        registry.start()
        os.environ |= {"MLFLOW_TRACKING_URI": registry.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        registry.wait()
        address.connect()
        tracking.select_experiment("fleet")
        with mlflow.start_run():
            card = checkpoint.load_card(quick.checkpoint)
            promotion.register("iqa", None, quick.checkpoint, card)
        put_on_record(quick.archive.parent, "1")
        model_versions.move_alias("iqa", "staging", "1", "test")
        servers = {}
        for name in NAMES:
            one = servers[name] = make_server(registry.uri)
            one.environment |= {"WORKERS": "1", "WEB": "0"}
            one.model_store.mkdir()
            shutil.copy(quick.archive, one.model_store)
            one.start()
        deploy = Deployer(tmp_path_factory.mktemp("commands"), servers["a"].environment)
        with _nginx(folder, [one.environment["INFERENCE_PORT"] for one in servers.values()]) as url:
            yield Fleet(servers=servers, url=url, folder=folder / "turns", deploy=deploy)
    finally:
        registry.stop()
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _nginx(folder: Path, ports: list[str]) -> Iterator[str]:
    """Run the configuration that `scripts.front --print --replicas` prints."""
    here = folder / "nginx"
    here.mkdir()
    port, config = free_port(), here / "fleet.conf"
    words = [
        "--print", "--replicas", ",".join(f"127.0.0.1:{port}" for port in ports),
        "--listen", f"127.0.0.1:{port}", "--dir", str(here),
    ]  # fmt: skip
    with config.open("w") as file:
        printed = subprocess.run(
            [shutil.which("python") or "python", "-m", front.__name__, *words],
            cwd=ROOT, stdout=file, check=False,
        )  # fmt: skip
    assert printed.returncode == 0
    process = subprocess.Popen(nginx_command(nginx_program(), config))
    try:
        wait_for((here / "nginx.pid").exists, "nginx", 10)
        yield f"http://127.0.0.1:{port}/predictions/iqa"
    finally:
        process.terminate()
        process.wait()


@dataclass
class Clients:
    """
    Some clients, each with a key of its own, that send one picture after the other.

    Attributes:
        url: Where they send.
        pause_s: From a request's begin to the next one's, at least.
        keys: One a client; an empty one sends none.
        versions: By key: who answered, in order.
        failures: What was no score, in words.
    """

    url: str
    pause_s: float
    keys: list[str]
    versions: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(len(self.keys))
        self._sent = [self._pool.submit(self._send, key) for key in self.keys]
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self._pool.shutdown()
        for sent in self._sent:
            sent.result()

    @property
    def scored(self) -> int:
        """How many got a score."""
        return sum(map(len, self.versions.values()))

    def expect_nothing_lost(self) -> None:
        """Check that each was scored, or refused as surplus of a machine that does other work."""
        surplus = [f'"reason": "{reason}"' for reason in SURPLUS]
        assert [text for text in self.failures if not any(one in text for one in surplus)] == []
        assert self.scored > 2 * len(self.failures)

    def changes(self) -> dict[str, int]:
        """Return for each key how often another version answered than the time before."""
        return {
            key: sum(one != other for one, other in pairwise(told))
            for key, told in self.versions.items()
        }

    def _send(self, key: str) -> None:
        headers = {"X-Sticky-Key": key} if key else {}
        with requests.Session() as session:
            while not self._ends.is_set():
                begin_s = time.monotonic()
                try:
                    reply = session.post(self.url, data=PICTURE, headers=headers, timeout=60)
                    if reply.status_code == 200:
                        self.versions[key].append(reply.json()["model"]["version"])
                    else:
                        self.failures.append(f"{key} {reply.status_code}: {reply.text}")
                except requests.RequestException as error:
                    self.failures.append(f"{key}: {error!r}")
                self._ends.wait(max(0.0, begin_s + self.pause_s - time.monotonic()))


def _keys(number: int) -> list[str]:
    return [f"client-{i}" for i in range(number)]


def _per_s(fleet: Fleet) -> float:
    """Return how many requests a second the fleet answers when twice as many clients wait."""
    with Clients(fleet.url, 0.0, [""] * CLIENTS) as clients:
        time.sleep(CAPACITY_S)
    return clients.scored / CAPACITY_S


def _all_serve(fleet: Fleet, version: str) -> bool:
    return set(fleet.served().values()) == {version}


def _stage(version: str) -> None:
    model_versions.move_alias("iqa", "staging", version, "test")


@pytest.mark.timeout(300 + 60 * MOVES)
def test_a_moved_alias_is_followed_by_one_server_after_the_other(fleet: Fleet) -> None:
    """
    Under load: nothing is lost, one is between two versions at a time, and no key goes back.

    FLEET_MOVES says how often the alias moves.
    """
    rate_per_s = SHARE_OF_CAPACITY * _per_s(fleet)
    seen: list[tuple[float, str, str]] = []
    ends = threading.Event()

    def look() -> None:
        before = fleet.served()
        while not ends.wait(0.02):
            now = fleet.served()
            seen.extend(
                (time.monotonic(), name, now[name]) for name in now if now[name] != before[name]
            )
            before = now

    watcher = threading.Thread(target=look)
    took_s = []
    with fleet.followed() as commands:
        wait_for(lambda: len(list(fleet.folder.glob("*.json"))) == len(NAMES), "the side-cars")
        watcher.start()
        with Clients(fleet.url, CLIENTS / rate_per_s, _keys(CLIENTS)) as clients:
            for _ in range(MOVES):
                version = fleet.add()
                begin_s = time.monotonic()
                _stage(version)
                wait_for(functools.partial(_all_serve, fleet, version), f"version {version}")
                took_s.append(time.monotonic() - begin_s)
                time.sleep(2 * WATCH_S)
        ends.set()
        watcher.join()
        told = "\n".join(command.err for command in commands.values())
    gaps_s = [after[0] - one[0] for one, after in pairwise(seen)]
    print(
        f"{MOVES} moves at {rate_per_s:.1f} requests a second: {clients.scored} scored, "
        f"{len(clients.failures)} not; all three within {max(took_s):.1f} s (mean "
        f"{sum(took_s) / MOVES:.1f}); nearest two servers {min(gaps_s):.1f} s apart"
    )
    clients.expect_nothing_lost()
    assert len(seen) == MOVES * len(NAMES), told
    assert min(gaps_s) >= WATCH_S
    assert clients.changes() == dict.fromkeys(_keys(CLIENTS), MOVES)


def test_a_version_that_one_server_refuses_is_left_by_the_others(fleet: Fleet) -> None:
    """Exit status, status and metrics say which and why; the next version is taken by all."""
    before = fleet.served()
    assert len(set(before.values())) == 1
    version = fleet.add(not_golden)
    with fleet.followed() as commands:
        _stage(version)

        def held() -> list[str]:
            return [name for name, one in commands.items() if "is held back" in one.err]

        wait_for(lambda: len(held()) == 2, "two that are held back")
        time.sleep(2 * POLL_S)
        (refuser,) = set(NAMES) - set(held())
        tried = [name for name, one in commands.items() if f"loading iqa-{version}.mar" in one.err]
        assert tried == [refuser]
        assert fleet.served() == before
        other = held()[0]
        status = json.loads(fleet.run(other, "status", "--json").out)["fleet"]
        assert status["replica"] == other
        assert status["members"] == before
        assert (status["refused"]["version"], status["refused"]["replica"]) == (version, refuser)
        good = fleet.add()
        _stage(good)
        wait_for(lambda: set(fleet.served().values()) == {good}, "the next version")
        wait_for(lambda: not list(fleet.folder.glob("*.refused.json")), "the end of the refusal")


def test_a_refusal_of_one_server_alone_holds_the_rest_back_until_a_new_try(fleet: Fleet) -> None:
    """Its archive is another one, which does not score as proven; then it gets the right one."""
    before = fleet.served()
    version = fleet.add()
    store = fleet.servers["b"].model_store
    bad = store / f"iqa-{version}.mar"
    copy_archive(store / "iqa-1.mar", bad, "iqa", version, not_golden)
    put_on_record(store, version)  # proven somewhere, as it is told
    _stage(version)
    fleet.run("a", "sync")
    refused = fleet.run("b", "sync", expected=1)
    assert "The served network is not the proven one" in refused.err
    held = fleet.run("c", "sync", expected=1)
    assert re.search(
        f"version {version} is held back: server b refused it: .*the proven one", held.err
    )
    assert fleet.served() == {**before, "a": version}
    said = fleet.run("c", "status").out
    assert f"fleet: version {version} is held back, b refused it: " in said
    shutil.copy(fleet.servers["a"].model_store / bad.name, bad)
    fleet.run("b", "sync", "--retry")
    fleet.run("c", "sync")
    assert set(fleet.served().values()) == {version}
    assert "held back" not in fleet.run("c", "status").out


def test_a_key_leads_to_one_server_and_a_lost_server_loses_nothing(fleet: Fleet) -> None:
    """Each server has a version of its own here, which tells who answered."""
    own = {}
    for name in NAMES:
        own[name] = fleet.add()
        _stage(own[name])
        os.environ.update(fleet.servers[name].environment)
        fleet.deploy.run("sync")  # by itself, not in turn
    keys = _keys(18)
    with Clients(fleet.url, 2.0, [*keys, ""]) as clients:
        wait_for(lambda: all(len(clients.versions[key]) >= 3 for key in [*keys, ""]), "three each")
        home = {key: clients.versions[key][0] for key in keys}
        assert set(home.values()) == set(own.values())
        at_stop = {key: len(clients.versions[key]) for key in keys}
        stopped = fleet.servers["c"].run("--stop")
        assert stopped.returncode == 0, stopped.stderr
        wait_for(
            lambda: all(len(clients.versions[key]) >= at_stop[key] + 4 for key in keys), "four more"
        )
    clients.expect_nothing_lost()
    assert len(set(clients.versions[""])) >= 2  # who sends no key gets any of them
    for key in keys:
        told = clients.versions[key]
        if home[key] != own["c"]:
            assert set(told) == {home[key]}, key
        else:
            assert told[-1] in (own["a"], own["b"])
            assert clients.changes()[key] == 1, told
