"""
nginx as the front configures it, before a server that only counts: who is asked, and how often.

What TorchServe answers does not matter here; `tests/e2e/test_canary.py` has the true one.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from scripts.nginx import settings
from scripts.nginx.front import Front
from scripts.nginx.reload import NoFront
from scripts.nginx.split import Split, SplitFront
from tests.ports import free_port

SCORED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
ANSWERS = {
    "500": b"HTTP/1.1 500 Fault\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    "507": b"HTTP/1.1 507 Died\r\nContent-Length: 0\r\n\r\n",
    "404": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "400": b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nits",
}
BODY = b"x" * 2000
STEPS = (5.0, 25.0, 100.0)


class Stub:
    """Counts what it is asked for, and answers with the version; version 2 does as it is told."""

    def __init__(self) -> None:
        self.asked: collections.Counter[str] = collections.Counter()
        self.heads: list[bytes] = []
        self.version_2 = "200"
        self.port = free_port()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                body = await reader.readexactly(length)
                path = head.split()[1].decode()
                self.asked[path] += 1
                self.heads.append(head)
                version = path.rpartition("/")[2] if path.count("/") == 3 else "1"
                how = self.version_2 if version == "2" else "200"
                if how == "hang":
                    await asyncio.sleep(60)
                if how == "killed":
                    break
                answer = b"%b %d" % (version.encode(), len(body))
                writer.write(ANSWERS.get(how, SCORED % (len(answer), answer)))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    def start(self) -> None:
        """Serve from a thread of its own, as long as the tests run."""
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        threading.Thread(target=loop.run_forever, daemon=True).start()


class Dry:
    """The front before a stub."""

    def __init__(self, folder: Path) -> None:
        self.stub = Stub()
        self.stub.start()
        self.port = free_port()
        self.folder = folder
        self.settings = {
            **settings.defaults(),
            "FRONT_LISTEN": f"127.0.0.1:{self.port}",
            "FRONT_UPSTREAM": f"127.0.0.1:{self.stub.port}",
            "FRONT_DIR": str(folder),
            "FRONT_MODELS": "iqa|other[.]one",
            "FRONT_DRAIN_S": "5",
            "FRONT_WEB": "127.0.0.1:9",
        }
        self.front = Front(self.settings, folder.parent / "front.log")
        self.split = SplitFront(folder, patience_s=0.2)

    def ask(self, key: str = "a", path: str = "/predictions/iqa", **how: str) -> requests.Response:
        """Send one request on a connection of its own."""
        headers = {"X-Sticky-Key": key, **how}
        url = f"http://127.0.0.1:{self.port}{path}"
        return requests.post(url, data=BODY, headers=headers, timeout=20)

    def lines(self) -> list[dict[str, str]]:
        """What the front has written of the requests."""
        return [json.loads(line) for line in self.split.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dry]:
    """One nginx for all tests; each begins without a split."""
    dry = Dry(tmp_path_factory.mktemp("front") / "front")
    yield dry
    dry.front.kill()


@pytest.fixture
def dry(front: Dry) -> Iterator[Dry]:
    """The same, with the counts at 0."""
    front.stub.version_2 = "200"
    front.stub.asked.clear()
    front.stub.heads.clear()
    yield front
    front.split.end()


def _canary(version: str = "2", shares: tuple[float, ...] = STEPS) -> Split:
    return Split(kind="canary", model_name="iqa", version=version, shares=shares)


async def _versions(port: int, keys: list[str]) -> dict[str, str]:
    """Return which version answers each key, asked on eight connections that are kept."""
    found: dict[str, str] = {}

    async def ask(part: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for key in part:
            head = f"POST /predictions/iqa HTTP/1.1\r\nHost: x\r\nX-Sticky-Key: {key}\r\n"
            writer.write(f"{head}Content-Length: 1\r\n\r\nx".encode())
            told = await reader.readuntil(b"\r\n\r\n")
            length = int(told.lower().split(b"content-length:")[1].split()[0])
            answer = await reader.readexactly(length)
            assert told.startswith(b"HTTP/1.1 200"), told
            found[key] = answer.split()[0].decode()
        writer.close()

    await asyncio.gather(*(ask(keys[i::8]) for i in range(8)))
    return found


def _share(found: dict[str, str]) -> float:
    return 100 * sum(version == "2" for version in found.values()) / len(found)


def test_each_step_has_its_share_of_20000_and_who_had_it_keeps_it(dry: Dry) -> None:
    """Within half a point; the same keys at every try, and those of 5 % are among the 25 %."""
    keys = [f"client-{number}" for number in range(20_000)]
    split = _canary()
    dry.split.begin(split)
    assert _share(asyncio.run(_versions(dry.port, keys[:500]))) == 0  # nothing was given yet
    shares, candidates = [], []
    for step in (1, 2, 3):
        dry.split.give(step)
        found = asyncio.run(_versions(dry.port, keys))
        shares.append(_share(found))
        candidates.append({key for key, version in found.items() if version == "2"})
    assert shares == pytest.approx(STEPS, abs=0.5), shares
    assert candidates[0] < candidates[1] < candidates[2]
    dry.split.take_back()
    assert _share(asyncio.run(_versions(dry.port, keys[:500]))) == 0
    dry.split.give(1)
    again = asyncio.run(_versions(dry.port, keys[:2000]))
    assert {key for key, version in again.items() if version == "2"} <= candidates[0]
    assert dry.stub.asked["/predictions/iqa/2"] > 20_000


def test_another_version_falls_to_other_clients(dry: Dry) -> None:
    """The lot is the version's: not always the same clients get what is new first."""
    keys = [f"client-{number}" for number in range(1000)]
    drawn = []
    for version in ("2", "3"):
        dry.split.begin(_canary(version, (25.0,)))
        dry.split.give(1)
        found = asyncio.run(_versions(dry.port, keys))
        drawn.append({key for key, answered in found.items() if answered == version})
    assert 150 < len(drawn[0]) < 350
    assert 20 < len(drawn[0] & drawn[1]) < 120  # a quarter of a quarter, and not all


def test_without_a_key_the_address_decides(dry: Dry) -> None:
    """One client, one version, on every connection and path."""
    dry.split.begin(_canary(shares=(50.0,)))
    dry.split.give(1)
    url = f"http://127.0.0.1:{dry.port}"
    answers = {
        requests.post(f"{url}{path}", data=BODY, timeout=5).text
        for path in ("/predictions/iqa", "/predict", "/explanations/iqa")
        for _ in range(5)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("how", ["500", "503", "507", "404", "killed", "hang"])
def test_what_the_candidate_does_not_answer_the_old_version_does(dry: Dry, how: str) -> None:
    """No client sees its failure; the log says whom it concerns; a hang costs five seconds."""
    dry.split.begin(_canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = how
    begin_s = time.monotonic()
    for path in ("/predictions/iqa", "/predict", "/explanations/iqa"):
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda key, p=path: dry.ask(str(key), p), range(8)))
        assert {(reply.status_code, reply.text) for reply in replies} == {(200, "1 2000")}
    assert time.monotonic() - begin_s < (17 if how == "hang" else 5)
    lines = dry.lines()
    assert len(lines) == 24
    for line in lines:
        assert (line["arm"], line["status"]) == ("new", "200")
        first, last = line["answers"].split(", ")
        no_answer = ("killed", "hang", "507")
        assert (first, last) == ("504" if how in no_answer else how, "200")
        assert line["asked"] == f"unix:{dry.folder}/new.sock, unix:{dry.folder}/old.sock"


def test_what_a_hanging_candidate_has_in_hand_at_the_end_is_answered(dry: Dry) -> None:
    """The reload waits until they have fallen back to the old version."""
    front = SplitFront(dry.folder)
    front.begin(_canary(shares=(100.0,)))
    front.give(1)
    dry.stub.version_2 = "hang"
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(dry.ask, str(key)) for key in range(8)]
        time.sleep(0.5)
        front.end()
        replies = [one.result() for one in asked]
    assert {(reply.status_code, reply.text) for reply in replies} == {(200, "1 2000")}


def test_a_refusal_of_the_picture_is_the_candidates_own(dry: Dry) -> None:
    """A 400 of the handler comes through as it is: another version would refuse it as well."""
    dry.split.begin(_canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = "400"
    reply = dry.ask()
    assert (reply.status_code, reply.text) == (400, "its")
    assert dry.stub.asked["/predictions/iqa"] == 0


def test_the_old_version_gets_what_the_candidate_got(dry: Dry) -> None:
    """The request that falls back has the same headers, and the time of its arrival anew."""
    dry.split.begin(_canary(shares=(100.0,)))
    dry.split.give(1)
    dry.stub.version_2 = "500"
    dry.ask(path="/predict", **{"X-Request-ID": "one", "X-Top-K": "3", "Accept": "image/png"})
    asked, fallen = (
        {line.split(b":")[0].lower(): line for line in head.split(b"\r\n")[1:] if line}
        for head in dry.stub.heads
    )
    assert asked.keys() - {b"connection"} == fallen.keys() - {b"connection"}
    names = (b"x-request-id", b"x-top-k", b"accept", b"x-image-name", b"content-length")
    for name in names:
        assert asked[name].lower() == fallen[name].lower()


def test_nothing_else_is_split_and_no_version_can_be_asked_for(dry: Dry) -> None:
    """Other models go where they went; a path with a version is refused as ever."""
    dry.split.begin(_canary(shares=(100.0,)))
    dry.split.give(1)
    assert dry.ask(path="/predictions/other.one").text == "1 2000"
    for path in ("/predictions/iqa/2", "/predictions/iqa/1", "/.shadow"):
        refused = dry.ask(path=path)
        assert (refused.status_code, refused.json()["reason"]) == (404, "not_found")
    assert dry.stub.asked == {"/predictions/other.one": 1}


def test_the_limits_hold_for_the_candidates_share(dry: Dry) -> None:
    """A body above the limit is 413 in our shape, by its length and in pieces."""
    dry.split.begin(_canary(shares=(100.0,)))
    dry.split.give(1)
    url = f"http://127.0.0.1:{dry.port}/predictions/iqa"
    most = int(dry.settings["FRONT_MAX_BYTES"])
    pieces = (b"x" * 2**20 for _ in range(most // 2**20 + 2))
    for body in (b"x" * (most + 1), pieces):
        refused = requests.post(url, data=body, timeout=20)
        assert (refused.status_code, refused.json()["reason"]) == (413, "too_many_bytes")
    assert dry.stub.asked == {}


def test_copies_are_a_share_and_nobody_waits_for_them(dry: Dry) -> None:
    """Of 2,000 requests a tenth is copied with its id and body; a candidate that hangs is mute."""
    dry.split.begin(Split(kind="shadow", model_name="iqa", version="2", shares=(10.0,)))
    dry.split.give(1)
    with requests.Session() as session:
        for number in range(2000):
            reply = session.post(
                f"http://127.0.0.1:{dry.port}/predictions/iqa",
                data=BODY, headers={"X-Request-ID": f"id-{number}"}, timeout=5,
            )  # fmt: skip
            assert reply.text == "1 2000"
    copies = dry.stub.asked["/predictions/iqa/2"]
    assert 160 < copies < 240, copies
    assert dry.stub.asked["/predictions/iqa"] == 2000
    ids = collections.Counter(_id_of(head) for head in dry.stub.heads)
    assert sum(count == 2 for count in ids.values()) == copies
    dry.stub.version_2 = "hang"
    begin_s = time.monotonic()
    with requests.Session() as session:
        for _ in range(100):
            url = f"http://127.0.0.1:{dry.port}/predictions/iqa"
            assert session.post(url, data=BODY, timeout=5).text == "1 2000"
    assert time.monotonic() - begin_s < 5


def _id_of(head: bytes) -> bytes:
    return head.lower().split(b"x-request-id:")[1].split(b"\r\n")[0].strip()


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
            dry.split.begin(_canary(shares=(50.0,)))
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
    dry.split.begin(_canary())
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
    dry.split.begin(_canary())  # in place of what was left
    assert dry.split.take_back_if_abandoned() is None
    assert dry.split.is_ours(_canary())
    assert not dry.split.is_ours(_canary("3"))


def test_one_model_at_a_time(dry: Dry) -> None:
    """Another model's split is refused, and leaves the one that is on as it is."""
    dry.split.begin(_canary(shares=(100.0,)))
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
        SplitFront(tmp_path).begin(_canary())
    (tmp_path / "settings.json").write_text(json.dumps(settings.defaults()))
    with pytest.raises(NoFront, match="expected one that runs here, got none"):
        SplitFront(tmp_path).begin(_canary())


@pytest.mark.parametrize("shares", [(), (0.0, 5.0), (5.0, 5.0), (25.0, 5.0), (5.0, 101.0)])
def test_shares_rise(shares: tuple[float, ...]) -> None:
    """Each step adds to the one before."""
    with pytest.raises(ValueError, match="shares: expected rising ones"):
        _canary(shares=shares)
