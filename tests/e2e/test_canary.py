"""A version that gets the requests step by step, one that sees copies: TorchServe and nginx."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import requests

from benchmarks.reliability.versions import add_version
from console.paths import ROOT
from scripts.nginx.split import SplitFront
from tests.deploying import Answer, Command, Deployer, Load, wait_for
from tests.quick import Quick
from tests.server import MakeServer, RunningServer
from training.registry import address, model_versions

PICTURE = (ROOT / "handler" / "golden" / "parrots.jpg").read_bytes()
BACK_S = 10.0
# A candidate that is good to golden images, which come past the front, and bad to clients.
CLIENTS = b"""

def _is_clients(data, context):
    return any(context.get_request_header(n, "X-Request-Start") for n in range(len(data)))


_handle = IQAHandler.handle


def _bad(self, data, context):
    if _is_clients(data, context):
        %b
    return _handle(self, data, context)


IQAHandler.handle = _bad
"""
WRONG = b"""

_judge = IQAHandler._judge


def _shifted(self, items, context):
    _judge(self, items, context)
    for item in items:
        if context.get_request_header(item.index, "X-Request-Start"):
            item.reply["score"] -= 40.0


IQAHandler._judge = _shifted
"""
FAULTS = {
    "raises": CLIENTS % b'raise RuntimeError("not for clients")',
    "hangs": CLIENTS % b"time.sleep(60)",
    "dies": CLIENTS % b'__import__("os")._exit(1)',
    "scores wrong": WRONG,
}


def _with(code: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content + code if name == "iqa_handler.py" else content


class Clients(Load):
    """Each request comes from a client of its own."""

    numbers = itertools.count()

    def _ask(self) -> Answer:
        sent_s = time.monotonic()
        key = {"X-Sticky-Key": f"client-{next(self.numbers)}"}
        try:
            reply = requests.post(self._url, data=self._picture, headers=key, timeout=30)
            version = reply.json()["model"]["version"] if reply.ok else reply.text
            status = reply.status_code
        except requests.RequestException as error:
            status, version = 0, repr(error)
        return Answer(sent_s=sent_s, answered_s=time.monotonic(), status=status, version=version)


@pytest.fixture(scope="module")
def serving(
    quick: Quick,
    make_server: MakeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """A server behind the front, with a copy of the registry and a prediction log."""
    folder = tmp_path_factory.mktemp("canary")
    serving = make_server().take(quick.archive, quick.registry)
    serving.environment |= {"WORKERS": "1", "PREDICTION_LOG": str(folder / "predictions")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", serving.environment["MLFLOW_TRACKING_URI"])
        address.connect()
        model_versions.move_alias("iqa", "staging", "1", "test")
        yield serving.start("--no-web")


@pytest.fixture(scope="module")
def deploy(serving: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    """Runs `scripts.deploy` for that server."""
    before = dict(os.environ)
    yield Deployer(tmp_path_factory.mktemp("commands"), serving.environment)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def front(serving: RunningServer) -> Iterator[SplitFront]:
    """Its front, in which nothing may be left of a split."""
    front = SplitFront(serving.state_dir / "front")
    config = (front.folder / "nginx.conf").read_text()
    yield front
    assert (front.folder / "nginx.conf").read_text() == config
    assert not front.log.exists() and front.owner() is None


def _load(serving: RunningServer, per_s: float = 6) -> Clients:
    return Clients(serving.url("INFERENCE_PORT", "/predictions/iqa"), PICTURE, per_s)


def _stage(version: str) -> None:
    model_versions.move_alias("iqa", "staging", version, "test")


def _served(serving: RunningServer) -> str:
    return str(serving.manage()[0]["modelVersion"])


def _has_share(front: SplitFront) -> bool:
    return (front.folder / "split").exists()


def _begin(deploy: Deployer, front: SplitFront, version: str) -> Command:
    """Begin a canary of long steps; return once the version has a share of the requests."""
    _stage(version)
    command = deploy.start("sync", "--retry", "--canary", "50,100", "--step-s", "60")
    try:
        wait_for(lambda: _has_share(front), "the first step", 120)
    except AssertionError as error:
        raise AssertionError(command.err) from error
    return command


@pytest.mark.parametrize("fault", FAULTS)
def test_a_candidate_with_a_fault_harms_no_client_and_is_taken_back(
    serving: RunningServer, deploy: Deployer, front: SplitFront, fault: str
) -> None:
    """No error, the old version answers instead; within ten seconds all goes to it, for good."""
    before = _served(serving)
    version = add_version(serving.model_store, _with(FAULTS[fault]))
    # What scores wrong shows it by a number of scores; what hangs keeps its requests for long.
    with _load(serving, 12 if fault == "scores wrong" else 6) as load:
        time.sleep(1.0)
        command = _begin(deploy, front, version)
        back_s = wait_for(lambda: not _has_share(front), "all to the old version", 60)
        assert command.wait() == 1
        time.sleep(0.5)
    load.expect_nothing_lost()
    assert back_s < BACK_S, command.err
    answers = load.answers()
    assert answers[-1].version == before
    if fault != "scores wrong":
        assert {answer.version for answer in answers if answer.status == 200} == {before}
    told = {
        "raises": "of its requests to fail|expected a score",  # a golden image beside a client's
        "hangs": r"within 4 s, got no answer|workers to live|requests to fail",
        "dies": r"workers to live|of its requests to fail|expected a score",
        "scores wrong": "expected its share of scores below",
    }[fault]
    assert re.search(told, command.err), command.err
    status = deploy.status()
    assert (status["served_version"], status["quarantine"]) == (before, version)
    assert (status["trial"], status["previous_version"]) == (None, None)
    assert f"version {version}" in status["last_error"]
    _stage(before)
    deploy.run("sync", "--wait")


def test_a_good_version_passes_each_step_and_serves(
    serving: RunningServer, deploy: Deployer, front: SplitFront
) -> None:
    """Half of the clients, then all, then it is the default; nobody loses a request."""
    before = _served(serving)
    version = add_version(serving.model_store)
    _stage(version)
    with _load(serving) as load:
        time.sleep(1.0)
        command = deploy.start("sync", "--canary", "50,100", "--step-s", "4", "--min-answers", "10")
        wait_for(lambda: _has_share(front), "the first step", 120)
        status = deploy.status()
        asked = serving.url("INFERENCE_PORT", f"/predictions/iqa/{version}")
        assert requests.post(asked, data=PICTURE, timeout=10).status_code == 404
        assert command.wait() == 0, command.err
    load.expect_nothing_lost()
    trial = status["trial"]
    assert (trial["kind"], trial["version"], trial["steps"]) == ("canary", version, 2)
    assert (status["served_version"], status["alias_version"]) == (before, version)
    for words in ("passed at 50 %", "passed at 100 %", f"version {before} -> version {version}"):
        assert words in command.err
    answers = [answer for answer in load.answers() if answer.status == 200]
    assert answers[-1].version == version
    first = next(i for i, answer in enumerate(answers) if answer.version == version)
    both = [answer.version for answer in answers[first : first + 30]]
    assert 5 <= both.count(version) <= 25
    after = deploy.status()
    assert (after["served_version"], after["previous_version"]) == (version, before)
    assert (after["trial"], after["quarantine"], after["last_error"]) == (None, None, None)


def test_a_rollback_ends_it(serving: RunningServer, deploy: Deployer, front: SplitFront) -> None:
    """All requests at once to the version that serves; the alias goes back to it."""
    before = _served(serving)
    version = add_version(serving.model_store)
    with _load(serving) as load:
        command = _begin(deploy, front, version)
        done = deploy.run("rollback")
        assert not _has_share(front)
        assert command.wait() == 0, command.err
    load.expect_nothing_lost()
    assert f"iqa version {before} is served again" in done.out
    assert str(model_versions.resolve("iqa", "staging").version) == before
    assert "a rollback came" in command.err
    assert (_served(serving), deploy.status()["hold"]) == (before, None)


def test_a_killed_tool_leaves_nothing_that_serves_and_the_next_sync_finishes(
    serving: RunningServer, deploy: Deployer, front: SplitFront
) -> None:
    """The supervisor takes the share back in a second; the version is rolled out by the next."""
    before = _served(serving)
    version = add_version(serving.model_store)
    with _load(serving) as load:
        _begin(deploy, front, version)
        owner = front.owner()
        assert owner is not None
        psutil.Process(owner.pid).send_signal(signal.SIGKILL)
        assert wait_for(lambda: not _has_share(front), "taken back", 20) < 5
        time.sleep(1.0)
        assert (_served(serving), load.answers()[-1].version) == (before, before)
        trial = deploy.status()["trial"]
        assert (trial["version"], trial["is_on"]) == (version, False)
        deploy.run("sync")
    load.expect_nothing_lost()
    status = deploy.status()
    assert (status["served_version"], status["trial"]) == (version, None)


def _nice(serving: RunningServer, version: str) -> int:
    """Return the priority of a version's workers, the same for all of their threads."""
    entry = next(one for one in serving.manage("/all") if one["modelVersion"] == version)
    pids = [worker["pid"] for worker in entry["workers"]]
    threads = [thread.id for pid in pids for thread in psutil.Process(pid).threads()]
    (nice,) = {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
    return nice


def test_a_shadow_serves_nobody_and_tells_how_scores_differ(
    serving: RunningServer, deploy: Deployer, front: SplitFront
) -> None:
    """
    Copies of half of the requests: pairs by request id, the difference, what it costs.

    Its workers stand back, so on a busy machine it scores few.
    """
    before = _served(serving)
    version = add_version(serving.model_store, _with(WRONG))
    _stage(version)
    with _load(serving) as load:
        done = deploy.start("sync", "--shadow", "50", "--step-s", "10")
        wait_for(lambda: _has_share(front), "the first copies", 120)
        assert _nice(serving, version) == min(_nice(serving, before) + 10, 19)
        assert done.wait() == 0, done.err
    load.expect_nothing_lost()
    assert {answer.version for answer in load.answers() if answer.status == 200} == {before}
    found = re.search(
        r"(\d+) pictures were scored by both: scores differ by (\S+) points", done.out
    )
    assert found is not None, done.out + done.err
    assert int(found[1]) >= 3
    assert float(found[2]) == pytest.approx(-40, abs=0.01)
    assert "(95% interval -40.0" in done.out
    assert re.search(r"cost: \d+ ms of a core a copy", done.out)
    status = deploy.status()
    assert (status["served_version"], status["quarantine"], status["trial"]) == (before, None, None)
    _stage(before)


def test_without_a_front_it_is_refused_before_anything_is_loaded(
    serving: RunningServer, deploy: Deployer
) -> None:
    """Nothing can split the requests of a server that is reached directly."""
    version = add_version(serving.model_store)
    _stage(version)
    ports = {"inference": "BACKEND", "management": "MANAGEMENT", "metrics": "METRICS"}
    where = [f"--{name}-url={serving.url(f'{port}_PORT', '')}" for name, port in ports.items()]
    store = f"--model-store={serving.model_store}"
    refused = deploy.run("sync", "--canary", "5,100", store, *where, expected=1)
    assert "requests can be split by a front alone" in refused.err
    assert version not in {entry["modelVersion"] for entry in serving.manage("/all")}
    _stage(_served(serving))
